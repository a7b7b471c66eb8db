"""Instances and nginx of a stack of two that are stopped, killed or go bad, by signals from the host."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

from load import Load
from sick import Sick, Way, run_up, wait_until

from deploykit.runtimes import REGISTRY, Stack

CLIENTS = 6
PATIENCE_SECONDS = 60
"""Where others use the machine as well."""


def process_ids(stack: Sick, name: str) -> tuple[int, ...]:
    """Of `web-1` or `nginx` on this machine, the main one first; empty while it does not run."""
    runtime = REGISTRY.get(stack.target)(Stack(stack.name, stack.folder), lambda line: None)
    return runtime.process_ids().get(name, ())


@contextlib.contextmanager
def stopped(stack: Sick, *names: str) -> Iterator[None]:
    """All processes of those are stopped, and go on afterwards."""
    found = [pid for name in names for pid in process_ids(stack, name)]
    assert found
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def of_kind(load: Load, kind: str) -> list[str]:
    return [line for line in load.result.failures if line.startswith(kind)]


def is_whole(stack: Sick) -> bool:
    return all(member["healthy"] for member in stack.json("status")["members"])


def a_stopped_instance_costs_a_request_its_timeout_at_most_and_is_named(stack: Sick, timeout_seconds: int) -> None:
    with stopped(stack, "web-1"), Load(stack.url, app="sick", clients=CLIENTS, trickle=False, slow_seconds=0.1) as load:
        assert load.until(lambda result: len(result.answers) > 100, PATIENCE_SECONDS), load.result
        waited = []
        for _ in range(20):
            began = time.monotonic()
            assert stack.browser.get("/whoami").status == 200
            waited.append(time.monotonic() - began)
        told = stack.json("status")
        shown = stack.run("status").stdout
        logged = stack.run("logs", "nginx", "-n", "5000").stdout
    # After ten seconds one request is tried on it again.
    assert len([seconds for seconds in waited if seconds >= timeout_seconds]) <= 3, waited
    assert of_kind(load, "get") == of_kind(load, "slow") == [], load.result
    tries = 1 + sum(load.result.slowest_seconds.values()) / 10
    assert len(of_kind(load, "post")) <= CLIENTS + tries, load.result
    first = told["members"][0]
    assert (first["slot"], first["healthy"]) == (1, False)
    assert "does not answer within" in first["seen"]
    assert [each["member"] for each in told["complaints"]] == ["web-1"]
    assert "web-1 does not answer within" in shown
    assert "nginx complained" in shown
    assert "<- web-1" in logged
    wait_until(lambda: is_whole(stack), PATIENCE_SECONDS, "it goes on")


def without_an_instance_nginx_says_so_on_a_page_of_its_own(stack: Sick) -> None:
    with stopped(stack, "web-1", "web-2"):
        page = stack.browser.get("/whoami")
    assert page.status in (502, 504)
    assert page.headers["retry-after"] == "5"
    assert "<h1>Not available</h1>" in page.text
    assert "sick" not in page.text
    wait_until(lambda: stack.browser.get("/whoami").status == 200, PATIENCE_SECONDS, "it serves again")
    wait_until(lambda: is_whole(stack), PATIENCE_SECONDS, "both serve again")


def a_killed_instance_is_back_and_no_get_is_lost(stack: Sick) -> None:
    before = process_ids(stack, "web-1")[0]
    with Load(stack.url, app="sick", clients=CLIENTS, trickle=False, slow_seconds=0.1) as load:
        assert load.until(lambda result: len(result.answers) > 10, PATIENCE_SECONDS), load.result
        os.kill(before, signal.SIGKILL)
        wait_until(
            lambda: process_ids(stack, "web-1")[:1] not in ((), (before,)), PATIENCE_SECONDS, "web-1 is started again"
        )
        many = len(load.result.answers) + 50
        assert load.until(lambda result: len(result.answers) > many, PATIENCE_SECONDS), load.result
    assert of_kind(load, "get") == of_kind(load, "slow") == [], load.result
    assert len(of_kind(load, "post")) <= CLIENTS, load.result
    wait_until(lambda: is_whole(stack), PATIENCE_SECONDS, "web-1 is healthy again")
    first = stack.json("status")["members"][0]
    assert first["restarts"] >= 1
    assert "killed by SIGKILL" in first["seen"]


def a_killed_worker_of_nginx_is_replaced(stack: Sick) -> None:
    main, *workers = process_ids(stack, "nginx")
    os.kill(workers[0], signal.SIGKILL)
    wait_until(lambda: workers[0] not in process_ids(stack, "nginx"), PATIENCE_SECONDS, "the worker is gone")
    wait_until(lambda: stack.browser.get("/whoami").status == 200, PATIENCE_SECONDS, "nginx serves")
    assert process_ids(stack, "nginx")[0] == main


def nginx_serves_on_after_its_master_was_killed(stack: Sick) -> None:
    os.kill(process_ids(stack, "nginx")[0], signal.SIGKILL)
    wait_until(lambda: _answers(stack), PATIENCE_SECONDS, "nginx serves again")
    stack.up()
    assert stack.browser.get("/whoami").status == 200
    assert stack.up()["changed"] is False


def _answers(stack: Sick) -> bool:
    try:
        return stack.browser.get("/whoami").status == 200
    except OSError:
        return False


LATER = {
    "dies": Way(
        ("web-1 of release", "did not stay healthy", "restarted"),
        top="asked = []",
        # Not by SIGKILL: the first process of a container can't be killed from inside.
        health="asked or threading.Timer(2, os.kill, (os.getppid(), 15)).start(); asked.append(1)",
    ),
    "answers 500": Way(
        ("web-1 of release", "did not stay healthy", "answers 500", "likely cause: "),
        top="asked = []",
        health="asked.append(time.time()); time.time() - asked[0] < 2 or 1 / 0",
    ),
}
"""Ways of getting unhealthy only after the switch."""


def is_taken_back(stack: Sick, way: Way) -> None:
    """A release that goes bad within `monitor` after its switch: the one before serves again, and why is told."""
    stack.write("later", way, start=60, monitor=20)
    try:
        ended = run_up(stack)
        assert ended.code == 3, ended.stderr
        for words in (*way.said[:-1], "now: what served before serves"):
            assert words in ended.stderr, ended.stderr
        assert stack.browser.get("/whoami").headers["x-release-note"] == "good"
    finally:
        stack.write("good")
