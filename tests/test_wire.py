"""What the wire says of real servers: nginx, Gunicorn and uWSGI; and of sockets that answer with something else."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_port

from deploykit import wire
from deploykit.wire import Answer, Request

APP = """
import json, time

def app(environ, start_response):
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    if environ["PATH_INFO"] == "/slow":
        time.sleep(1)
    if environ["PATH_INFO"] == "/chunks":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"one ", b"two ", b"", b"three " * 20000])
    if environ["PATH_INFO"] == "/empty":
        start_response("204 No Content", [])
        return []
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told["body"] = body.decode("utf-8", "replace")
    data = json.dumps(told).encode()
    start_response("201 Created", [("Content-Type", "application/json"), ("X-Twice", "a"), ("X-Twice", "b"),
                                   ("Content-Length", str(len(data)))])
    return [data]
"""

NGINX = """
USER
daemon off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  server {
    listen unix:nginx.sock;
    listen 127.0.0.1:PORT;
    client_max_body_size 1000;
    location / { return 200 "$remote_addr $host $request_uri\\n"; }
    location /hold { proxy_pass http://unix:http.sock:/; }
    location /closed { return 444; }
    location /file { alias file; }
  }
}
"""


def until(done: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


@contextlib.contextmanager
def started(folder: Path, *words: str) -> Iterator[None]:
    with (folder / "output").open("ab") as output:
        child = subprocess.Popen(words, cwd=folder, stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        child.send_signal(signal.SIGINT if "uwsgi" in words[0] else signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wire")
    (folder / "answering.py").write_text(APP)
    (folder / "file").write_bytes(b"x" * 400_000)
    return folder


@pytest.fixture(scope="module")
def http(folder: Path) -> Iterator[str]:
    """A Gunicorn that speaks HTTP."""
    words = (sys.executable, "-m", "gunicorn", "--bind", "unix:http.sock", "--threads", "2", "answering:app")
    with started(folder, *words):
        until(lambda: wire.send(Request(f"unix:{folder}/http.sock")).status)
        yield f"unix:{folder}/http.sock"


@pytest.fixture(scope="module")
def uwsgi(folder: Path) -> Iterator[str]:
    """A uWSGI that speaks its own protocol."""
    command = str(Path(sys.executable).parent / "pyuwsgi")
    with started(folder, command, "--master", "--socket", "uwsgi.sock", "--module", "answering:app"):
        until(lambda: wire.send(Request(f"unix:{folder}/uwsgi.sock", protocol="uwsgi")).status)
        yield f"unix:{folder}/uwsgi.sock"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def nginx(folder: Path, port: int, http: str) -> Iterator[str]:
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(NGINX.replace("PORT", str(port)).replace("USER", user))
    with started(folder, "nginx", "-p", f"{folder}/", "-c", "nginx.conf"):
        until(lambda: wire.send(Request(f"127.0.0.1:{port}")).status)
        yield f"127.0.0.1:{port}"


def test_a_target_is_sent_as_it_is(nginx: str) -> None:
    for target in ("/static../x", "/a/%2e%2e/", "/a//b", "/a\\b", "/..;/x"):
        assert wire.send(Request(nginx, target)).body == f"127.0.0.1 localhost {target}\n"


def test_bytes_that_are_no_text_can_be_sent(nginx: str) -> None:
    assert wire.send(Request(nginx, "/\udcff")).body == "127.0.0.1 localhost /\ufffd\n"
    assert wire.send(Request(nginx, "/a\0b")).status == 400


def test_this_side_can_have_any_loopback_address(nginx: str) -> None:
    assert wire.send(Request(nginx, "/", source="127.4.5.6", host="shop.test:80")).body == "127.4.5.6 shop.test /\n"


def test_no_host_is_no_host(nginx: str) -> None:
    assert wire.send(Request(nginx, host="")).status == 400


def test_headers_and_body_reach_an_app_and_its_answer_comes_back(http: str) -> None:
    headers = (("X-One", "1"), ("Content-Type", "text/x-test"))
    answer = wire.send(Request(http, "/caf%C3%A9?a=b", "POST", "shop.test", headers, "grüße"))
    told = json.loads(answer.body)
    assert answer.status == 201
    assert (told["HTTP_HOST"], told["HTTP_X_ONE"], told["CONTENT_TYPE"]) == ("shop.test", "1", "text/x-test")
    assert (told["body"], told["CONTENT_LENGTH"], told["QUERY_STRING"]) == ("grüße", "7", "a=b")
    assert [value for name, value in answer.headers if name == "x-twice"] == ["a", "b"]
    assert answer.header("x-twice") == "a"
    assert answer.header("x-nothing") == ""


def test_chunks_are_put_together(http: str) -> None:
    answer = wire.send(Request(http, "/chunks"))
    assert answer.header("transfer-encoding") == "chunked"
    assert answer.body == "one two " + "three " * 20000


def test_answers_without_a_body_end_at_once(http: str) -> None:
    for answer in wire.exchange([Request(http, "/empty"), Request(http, "/", "HEAD")]):
        assert (answer.body, answer.error) == ("", "")
        assert answer.status in (201, 204)


def test_a_body_is_kept_as_far_as_asked_and_read_to_its_end(nginx: str) -> None:
    answer = wire.send(Request(nginx, "/file", most_bytes=10))
    assert (answer.status, answer.body) == (200, "x" * 10)
    assert len(wire.send(Request(nginx, "/file", most_bytes=10**6)).body) == 400_000


def test_a_body_can_be_announced_and_never_sent(nginx: str) -> None:
    answers = wire.exchange([Request(nginx, "/hold", "POST", expect_length=n) for n in (1000, 1001)])
    assert [answer.status for answer in answers] == [100, 413]


def test_a_refusal_in_the_middle_of_a_long_body_is_read(nginx: str) -> None:
    assert wire.send(Request(nginx, "/hold", "POST", body="x" * 20_000_000)).status == 413


def test_the_uwsgi_protocol_says_what_nginx_would_say(uwsgi: str) -> None:
    headers = (("X-One", "1"), ("Content-Type", "text/x-test"))
    answer = wire.send(
        Request(uwsgi, "/caf%C3%A9/?a=b", "POST", "shop.test:8080", headers, "grüße", "127.4.5.6", "uwsgi")
    )
    told = json.loads(answer.body)
    assert answer.status == 201
    wanted = {
        "REQUEST_METHOD": "POST",
        "REQUEST_URI": "/caf%C3%A9/?a=b",
        "PATH_INFO": "/café/".encode().decode("latin-1"),
        "QUERY_STRING": "a=b",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "shop.test",
        "SERVER_PORT": "8080",
        "HTTP_HOST": "shop.test:8080",
        "REMOTE_ADDR": "127.4.5.6",
        "CONTENT_TYPE": "text/x-test",
        "CONTENT_LENGTH": "7",
        "HTTP_X_ONE": "1",
        "body": "grüße",
    }
    assert {name: told.get(name) for name in wanted} == wanted


def test_gunicorn_understands_the_uwsgi_protocol_too(folder: Path) -> None:
    bind = ("--bind", "unix:both.sock", "--protocol", "uwsgi", "--no-control-socket")
    with started(folder, sys.executable, "-m", "gunicorn", *bind, "answering:app"):
        request = Request(f"unix:{folder}/both.sock", "/x", protocol="uwsgi")
        until(lambda: wire.send(request).status)
        assert json.loads(wire.send(request).body)["PATH_INFO"] == "/x"


def test_a_socket_with_a_long_path_is_reached(folder: Path, http: str) -> None:
    deep = folder / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    (deep / "1.sock").symlink_to(folder / "http.sock")
    assert len(str(deep)) > wire.LONGEST_UNIX_PATH
    assert wire.send(Request(f"unix:{deep}/1.sock")).status == 201
    assert wire.send(Request(f"unix:{deep}/2.sock")).error == "no such socket"


def test_the_text_of_this_file_answers_where_there_is_no_deploykit(nginx: str, http: str) -> None:
    requests = [Request(nginx, "/a\udcff"), Request(http, headers=(("X-One", "1"),)), Request("unix:/nowhere")]
    words = [sys.executable, "-I", "-c", wire.source_text()]
    text = wire.to_json(requests)
    for argument, given in (([text], ""), ([], text)):
        done = subprocess.run([*words, *argument], input=given, capture_output=True, text=True, check=True)
        answers = wire.answers_from_json(done.stdout)
        assert [answer.status for answer in answers] == [200, 201, 0]
        assert answers[2].error == "no such socket"
        assert json.loads(answers[1].body)["HTTP_X_ONE"] == "1"


def test_requests_and_answers_survive_json() -> None:
    requests = [Request("unix:x", "/\udcff", headers=(("A", "b"), ("A", "c")), expect_length=3)]
    answers = [Answer(200, (("a", "ü"),), "\ufffd", 0.25, "")]
    assert wire.requests_from_json(wire.to_json(requests)) == requests
    assert wire.answers_from_json(wire.to_json(answers)) == answers


def test_the_file_can_be_read_by_the_oldest_python_that_it_may_meet() -> None:
    import ast

    ast.parse(wire.source_text(), feature_version=(3, 8))


# --- what goes wrong -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def says(*parts: bytes, hold: bool = False) -> Iterator[str]:
    """A socket that takes a connection, reads a request, says these bytes and closes, or holds the connection."""
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65536)
                    for part in parts:
                        connection.sendall(part)
                    if hold:
                        done.wait(10)

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        done.set()
        thread.join(10)


@pytest.mark.parametrize(
    "said, error",
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 200", "cut off within the headers"),
        (b"SSH-2.0-Open\r\n\r\n", "not HTTP: 'SSH-2.0-Open\\r\\n\\r\\n'"),
        (b"HTTP/1.1 fine\r\n\r\n", "not HTTP: 'HTTP/1.1 fine'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "cut off after 3 of 10 bytes"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\nabc", "not HTTP: Content-Length 'ten'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "cut off after 2 of 5 bytes"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "cut off within its chunks"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", "not HTTP: a chunk of size 'xx'"),
    ],
)
def test_what_is_no_whole_answer_is_said_in_words(said: bytes, error: str) -> None:
    with says(said) as address:
        answer = wire.send(Request(address))
    assert (answer.status, answer.error) == (0, error)


def test_an_answer_in_single_bytes_is_put_together() -> None:
    said = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    with says(*(bytes([byte]) for byte in said)) as address:
        answer = wire.send(Request(address))
    assert (answer.status, answer.body) == (200, "hi")


def test_an_answer_without_length_ends_with_the_connection() -> None:
    with says(b"HTTP/1.0 200 OK\r\n\r\nall of ", b"it") as address:
        assert wire.send(Request(address)).body == "all of it"


def test_the_time_is_for_all_of_a_request() -> None:
    with says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc", hold=True) as address:
        began = time.monotonic()
        answer = wire.send(Request(address, timeout_seconds=0.3))
        assert time.monotonic() - began < 2
    assert (answer.status, answer.error) == (0, "timed out after 0.3 s")
    assert 0.3 <= answer.seconds < 2


def test_an_app_that_is_slow_times_out(http: str) -> None:
    assert wire.send(Request(http, "/slow", timeout_seconds=0.2)).error == "timed out after 0.2 s"


def test_a_connection_that_is_closed_without_a_word_is_said_so(nginx: str) -> None:
    assert wire.send(Request(nginx, "/closed")).error == "closed without an answer"


def test_who_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        assert wire.send(Request(f"127.0.0.1:{taken.getsockname()[1]}")).error == "refused"
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(stale))
    (tmp_path / "file").write_text("")
    wrong = {
        f"unix:{stale}": "refused",
        f"unix:{tmp_path}/none.sock": "no such socket",
        f"unix:{tmp_path}/file": "refused",
        "nowhere.invalid:80": "no such host: nowhere.invalid:80",
        "nonsense": "not an address: nonsense",
        "127.0.0.1:http": "not an address: 127.0.0.1:http",
        "127.0.0.1:99999": "not an address: 127.0.0.1:99999",
    }
    assert {address: wire.send(Request(address)).error for address in wrong} == wrong


def test_what_can_not_be_sent_is_said_in_words(http: str, uwsgi: str) -> None:
    assert wire.send(Request(http, protocol="ftp")).error == "no such protocol: ftp"
    assert wire.send(Request(uwsgi, protocol="uwsgi", expect_length=1)).error == "the uwsgi protocol has no Expect"
    assert re.match("can't be sent: ", wire.send(Request(uwsgi, "/" + "x" * 70000, protocol="uwsgi")).error)


def test_no_request_spoils_the_next(http: str) -> None:
    answers = wire.exchange([Request("unix:/nowhere"), Request(http), Request("nonsense"), Request(http)])
    assert [answer.status for answer in answers] == [0, 201, 0, 201]
