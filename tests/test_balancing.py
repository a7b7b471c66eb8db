"""Each method of balancing as it is rendered, before real members: who answers is what its name says."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from ports import free_port
from proof.rig import until
from rendered import DEBIAN, WHEEL, Rendered

from deploykit import machine
from deploykit.errors import SpecError
from deploykit.nginx import FAIR_MODULE

SPEC = """
apps:
  web:
    entrypoint: web:app
    balance: {balance}
    instances: {instances}
"""


def stack(folder: Path, balance: str, instances: str, nginx: str = DEBIAN) -> Rendered:
    text = SPEC.format(balance=balance, instances=instances)
    return Rendered(folder, text, nginx=nginx, port=free_port())


def answered(stack: Rendered, times: int) -> Counter[str]:
    return Counter(stack.told("/")["member"] for _ in range(times))


def test_fair_reaches_the_members_with_the_module_of_debian(tmp_path: Path) -> None:
    fair = stack(tmp_path, "fair", "2")
    module = machine.describe_nginx(DEBIAN).loads(FAIR_MODULE)
    assert f"load_module {module};" in (tmp_path / "nginx/current/nginx.conf").read_text()
    with fair.up():
        assert set(answered(fair, 10)) == {"web-1", "web-2"}


def test_fair_is_refused_where_the_nginx_has_no_module_for_it(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as refused:
        stack(tmp_path, "fair", "2", WHEEL)
    (problem,) = refused.value.problems
    assert problem.place and problem.path == "apps.web.balance"
    assert machine.describe_nginx(WHEEL).version_text in problem.message
    assert "least_conn" in problem.hint and "libnginx-mod-http-upstream-fair" in problem.hint


def test_a_backup_answers_once_the_others_are_gone(tmp_path: Path) -> None:
    with_backup = stack(tmp_path, "round_robin", "[{}, {backup: true}]")
    with with_backup.members(2), with_backup.nginx():
        with with_backup.members(1):
            assert answered(with_backup, 10) == {"web-1": 10}
        assert answered(with_backup, 10) == {"web-2": 10}


def test_a_member_gets_no_more_requests_than_it_may_have_at_a_time(tmp_path: Path) -> None:
    limited = stack(tmp_path, "round_robin", "[{weight: 100, max_conns: 1}, {}]")
    with limited.up():
        assert answered(limited, 10)["web-1"] >= 9
        slow = [sys.executable, "-c", SLOW, str(limited.port)]
        with subprocess.Popen(slow, stdout=subprocess.PIPE, text=True) as busy:
            until(lambda: answered(limited, 2)["web-2"] == 2, "the limit", 20)
            assert '"member": "web-1"' in busy.communicate(timeout=60)[0]


SLOW = """
import http.client, sys
asking = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=60)
asking.request("GET", "/", headers={"Host": f"localhost:{sys.argv[1]}", "X-Takes": "5"})
print(asking.getresponse().read().decode(), end="")
"""


@pytest.mark.parametrize("balance", ["ip_hash", "{hash: $binary_remote_addr}"])
def test_clients_of_the_others_stay_where_a_member_is_down_and_move_where_it_is_taken_out(
    tmp_path: Path, balance: str
) -> None:
    clients = [f"127.{number}.{number * 7 % 256}.1" for number in range(1, 61)]

    def homes(instances: str) -> dict[str, str]:
        spread = stack(tmp_path / f"{len(list(tmp_path.iterdir()))}", balance, instances)
        with spread.up():
            return {client: spread.told("/", source=client)["member"] for client in clients}

    before = homes("[{}, {}, {}]")
    down = homes("[{}, {}, {down: true}]")
    out = homes("[{}, {}]")
    others = [client for client in clients if before[client] != "web-3"]
    assert 20 < len(others) < 60
    assert [client for client in others if down[client] != before[client]] == []
    assert [client for client in others if out[client] != before[client]] != []
