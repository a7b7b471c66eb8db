"""Reloads of nginx, and more and fewer instances, under load; `make long` runs it, and its figures are in load.txt."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from invariants import Invariants
from load import Load, Result
from ports import free_port
from stacks import ARTIFACTS, Example, brought_up

pytestmark = [pytest.mark.slow, pytest.mark.docker]
RELOADS = 20


def keep(text: str) -> None:
    """For a person, below `tests/artifacts/`."""
    ARTIFACTS.mkdir(exist_ok=True)
    with (ARTIFACTS / "load.txt").open("a") as file:
        file.write(text + "\n")


@pytest.fixture(scope="module", params=["process", "docker"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    with brought_up("flask", request.param, tmp_path_factory.mktemp("reloads") / "flask") as running:
        yield running


def under_load(example: Example, url: str, change: Callable[[], object], times: int) -> Result:
    """What clients see of that many changes, each with load before it and after it."""
    whole = Result()
    for _ in range(times):
        with Load(url, app=example.app, slow_seconds=1.0) as load:
            assert load.until(lambda seen: len(seen.answers) >= 150, 60), load.result
            change()
            done = time.monotonic()
            assert load.until(lambda seen, done=done: seen.releases(since=done).total() >= 150, 60), load.result  # type: ignore[misc]
        whole.requests += load.result.requests
        whole.stale_close += load.result.stale_close
        whole.failures += load.result.failures
    return whole


def test_a_changed_configuration_loses_no_more_than_a_reload_of_bare_nginx(example: Example, tmp_path: Path) -> None:
    """A2. What nginx itself loses of kept connections as it reloads is measured in the same run."""
    sizes = iter(range(11, 11 + RELOADS))

    def change() -> None:
        path = example.folder / "deploykit.yaml"
        head, _, rest = path.read_text().partition("    body_size: ")
        path.write_text(f"{head}    body_size: {next(sizes)}m {rest.partition(' ')[2]}")
        steps = {step["step"] for step in example.up()["steps"]}
        assert steps == {"StageNginx", "RunNginx"}, steps

    ours = under_load(example, example.url, change, RELOADS)
    with BareNginx(example, tmp_path) as (url, reload):
        bare = under_load(example, url, reload, RELOADS)
    for name, seen in (("deploykit", ours), ("bare nginx", bare)):
        rate = 100 * seen.stale_close / seen.requests
        keep(
            f"A2 {example.target}, {name}: {RELOADS} reloads, {seen.requests} requests, "
            f"{seen.stale_close} stale ({rate:.3f} %)"
        )
    assert (ours.failures, bare.failures) == ([], []), (ours, bare)
    # Of so few, one more or less says nothing.
    assert ours.stale_close / ours.requests <= max(0.003, bare.stale_close / bare.requests + 3 / ours.requests), (
        ours,
        bare,
    )
    Invariants(example).hold()


class BareNginx:
    """An nginx with no more than what it takes to pass requests on to the example's, and how it is reloaded."""

    def __init__(self, example: Example, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        text = f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 2;
        events {{ worker_connections 1024; }}
        http {{
          access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
          fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
          server {{
            listen 127.0.0.1:{self.port};
            client_max_body_size 20m;
            location / {{
              proxy_pass http://127.0.0.1:{example.port}; proxy_set_header Host localhost:{example.port};
            }}
          }}
        }}"""
        (folder / "nginx.conf").write_text(text)

    def __enter__(self) -> tuple[str, Callable[[], None]]:
        words = ["nginx", "-p", f"{self.folder}/", "-c", f"{self.folder}/nginx.conf"]
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        wait(lambda: self._listens(), 10)
        return f"http://localhost:{self.port}", self._reload

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _reload(self) -> None:
        old = {child.pid for child in psutil.Process(self.process.pid).children()}
        self.process.send_signal(signal.SIGHUP)
        wait(lambda: bool({child.pid for child in psutil.Process(self.process.pid).children()} - old), 10)


def wait(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold"
        time.sleep(0.05)


def test_more_and_fewer_instances_lose_no_request(example: Example) -> None:
    """A4; kept connections of clients are nginx's own loss, as with any reload."""
    path = example.folder / "deploykit.yaml"
    sizes = iter([5, 1, 2] * 7)

    def change() -> None:
        lines = path.read_text().splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("    instances: "))
        lines[at] = f"    instances: {next(sizes)}"
        path.write_text("\n".join(lines) + "\n")
        example.up()

    seen = under_load(example, example.url, change, RELOADS)
    keep(f"A4 {example.target}: {RELOADS} changes of the number of instances: {seen}")
    assert seen.failures == [], seen
    assert seen.stale_close / seen.requests <= 0.003, seen
    Invariants(example).hold()


def test_workers_stay_few_with_clients_that_never_close(example: Example) -> None:
    """A10: fifty reloads, five clients that hold a slow download; old workers end after `worker_shutdown_timeout`."""
    main = nginx_pid(example)
    (workers,) = {line.split()[1] for line in config(example) if line.startswith("worker_processes")}
    (limit,) = {line.split()[1] for line in config(example) if line.startswith("worker_shutdown_timeout")}
    held = []
    before = sum(child.memory_info().rss for child in psutil.Process(main).children())
    most = 0
    for number in range(50):
        if number < 5:
            held.append(socket.create_connection(("127.0.0.1", example.port)))
            held[-1].sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nx")
        psutil.Process(main).send_signal(signal.SIGHUP)
        time.sleep(1)
        most = max(most, len(psutil.Process(main).children()))
    many = int(workers.rstrip(";"))
    keep(f"A10 {example.target}: {many} workers configured, {most} at most in 50 reloads")
    assert most <= 2 * many + len(held) * many, most
    wait(lambda: len(psutil.Process(main).children()) <= many, float(limit.rstrip("s;")) + 10)
    after = sum(child.memory_info().rss for child in psutil.Process(main).children())
    assert after - before <= 20 << 20, (before, after)
    for each in held:
        each.close()


def nginx_pid(example: Example) -> int:
    """The process id of nginx's master, as this machine sees it."""
    if example.target == "docker":
        import docker

        return int(docker.from_env().containers.get(f"{example.name}-nginx").attrs["State"]["Pid"])
    return next(
        process.pid
        for process in psutil.process_iter()
        if process.name().startswith("nginx")
        and "master" in " ".join(process.cmdline())
        and process.cwd() == str(example.home)
    )


def config(example: Example) -> list[str]:
    """The lines of the nginx.conf that is rendered for it."""
    out = example.folder.parent / f"{example.folder.name}-rendered"
    example.run("render", "--output", str(out), "--target", example.target)
    return (out / "nginx" / "nginx.conf").read_text().splitlines()
