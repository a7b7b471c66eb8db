"""The load client sees what it is there to see; without this, its zeros would prove nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from load import Load, Result, run

EXAMPLE = Path(__file__).parent.parent / "examples" / "flask"


@pytest.fixture
def guest_book(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The Flask example under Gunicorn alone: its URL and its process, the leader of a group of its own."""
    shutil.copytree(EXAMPLE, tmp_path / "app")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        listening.set_inheritable(True)
        words = [sys.executable, "-m", "gunicorn", "--threads", "16", "--bind", f"fd://{listening.fileno()}", "app:app"]
        server = subprocess.Popen(
            words,
            cwd=tmp_path / "app",
            env=os.environ | {"RELEASE_NOTE": "one"},
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        yield url, server
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def test_a_healthy_server_answers_all_kinds_without_a_failure(guest_book: tuple[str, object]) -> None:
    with Load(guest_book[0], app="guestbook", slow_seconds=0.2) as load:
        all_kinds = load.until(lambda seen: len(seen.slowest_seconds) == 4 and seen.requests > 200, 30)
    assert all_kinds, load.result
    assert (load.result.failures, load.result.stale_close) == ([], 0), load.result
    assert set(load.result.releases()) == {"one"}
    assert len(load.result.answers) == load.result.requests


def test_a_server_killed_under_load_is_seen(guest_book: tuple[str, subprocess.Popen[bytes]]) -> None:
    url, server = guest_book
    with Load(url, app="guestbook", slow_seconds=0.5) as load:
        assert load.until(lambda seen: len(seen.answers) > 100, 30), load.result
        assert load.result.failures == [], load.result
        os.killpg(server.pid, signal.SIGKILL)
        seen = load.until(lambda seen: len(seen.failures) > 100, 30)
    assert seen, load.result
    assert any("ConnectionRefused" in failure for failure in load.result.failures), load.result
    assert any(not failure.startswith("trickle") and "Refused" not in failure for failure in load.result.failures), (
        "the requests under way were not missed"
    )


@pytest.mark.parametrize(
    ("mangle", "expected"),
    [
        (lambda answer: answer.replace(b"200 OK", b"502 Bad Gateway"), "status 502"),
        (lambda answer: answer[:-1], "truncated"),
        (lambda answer: answer[:20], "truncated"),
        (lambda answer: answer.replace(b"HTTP/1.1 200 OK", b"nothing"), "IndexError"),
        (lambda answer: answer.replace(b"X-Release-Note", b"X-Other"), "no release note"),
        (lambda answer: answer.replace(b"one", b"two", 1), "two releases in one answer"),
        (lambda answer: answer.replace(b"guestbook", b"bookguest"), "answer of another app or to another request"),
        (lambda answer: answer.replace(b"?id=", b"?ID="), "answer of another app or to another request"),
        (lambda answer: answer.replace(b"slept", b"awoke"), "not the answer of /slow"),
        (lambda answer: answer[:-1] + b"!", "not the body that was sent"),
    ],
)
def test_a_wrong_answer_is_a_failure(mangle: Callable[[bytes], bytes], expected: str) -> None:
    result = asyncio.run(_against(mangle, closes=True))
    assert any(expected in failure for failure in result.failures), result


def test_no_answer_is_a_failure() -> None:
    result = asyncio.run(_against(lambda _answer: b"", closes=True))
    assert any("closed without an answer" in failure for failure in result.failures), result
    assert result.answers == [], result


def test_a_kept_connection_that_is_closed_unasked_has_its_own_column() -> None:
    result = asyncio.run(_against(lambda answer: answer, closes=True))
    assert result.stale_close > 0, result
    assert result.failures == [], result


def test_a_server_that_hangs_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("load.TIMEOUT_SECONDS", 0.2)
    result = asyncio.run(_against(lambda _answer: b"", closes=False))
    assert any("no whole answer in time" in failure for failure in result.failures), result


def test_the_load_ends_after_a_fixed_number_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("load.MOST_REQUESTS", 50)
    result = asyncio.run(_against(lambda answer: answer, closes=False, seconds=20))
    assert 50 <= result.requests < 50 + 12


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "https://127.0.0.1/", "http://example.com/"])
def test_the_load_goes_to_loopback_only(url: str) -> None:
    with pytest.raises(ValueError):
        asyncio.run(run(url, app="guestbook", seconds=1))


async def _against(mangle: Callable[[bytes], bytes], *, closes: bool, seconds: float = 0.5) -> Result:
    """What the clients see of a server whose right answers are mangled, and that closes or keeps its connections."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(mangle(await _right_answer(reader)))
                await writer.drain()
                if closes:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return await run(url, app="guestbook", seconds=seconds, trickle=False)


async def _right_answer(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or 0))
    if head.startswith(b"GET /slow"):
        body = b"slept"
    elif head.startswith(b"GET"):
        path = head.split(b" ")[1].decode()
        body = json.dumps({"app": "guestbook", "path": path, "release_note": "one"}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Release-Note: one\r\n\r\n%s" % (len(body), body)
