"""The default sizing, told as sentences that `plan` prints."""

from __future__ import annotations

import pytest

from deploykit.sizing import FEWEST_WORKERS, WORKER_BYTES, Sizing, workers_and_threads

PLENTY = 64 << 30


def test_a_worker_per_cpu_on_one_instance() -> None:
    assert workers_and_threads(4, PLENTY, 1) == Sizing(
        4, 4, "4 CPUs over 1 instance: 4 workers each; 4 threads for waiting"
    )


def test_no_instance_has_only_one_worker_that_a_request_could_block() -> None:
    assert workers_and_threads(2, PLENTY, 2) == Sizing(
        2,
        4,
        "2 CPUs over 2 instances: 1 worker each, at least 2 so that one stuck request does not stop it; "
        "4 threads for waiting",
    )


def test_cpus_that_do_not_divide_are_rounded_up() -> None:
    assert workers_and_threads(8, PLENTY, 3).workers == 3


def test_little_memory_holds_fewer_workers() -> None:
    assert workers_and_threads(8, 1 << 30, 1) == Sizing(
        4,
        4,
        "8 CPUs over 1 instance: 8 workers each, "
        "4 because 1024 MiB hold no more, twice, at 96 MiB each; 4 threads for waiting",
    )


def test_without_threads_more_workers_do_the_waiting() -> None:
    assert workers_and_threads(2, PLENTY, 1, threads_safe=False) == Sizing(
        8, 1, "2 CPUs over 1 instance: 8 workers each, 4 for each CPU; no threads, because the app can't have them"
    )


def test_a_large_machine_does_not_start_hundreds_of_workers() -> None:
    sizing = workers_and_threads(256, PLENTY, 1)
    assert sizing.workers == 64
    assert "at most 64" in sizing.sentence


@pytest.mark.parametrize("cpus", [0, 1, 2, 3, 7, 32])
@pytest.mark.parametrize("memory_bytes", [0, 1, 64 << 20, 1 << 30, PLENTY])
@pytest.mark.parametrize("instances", [0, 1, 2, 5, 64])
@pytest.mark.parametrize("threads_safe", [True, False])
def test_what_comes_out_can_run(cpus: int, memory_bytes: int, instances: int, threads_safe: bool) -> None:
    sizing = workers_and_threads(cpus, memory_bytes, instances, threads_safe=threads_safe)
    assert 1 <= sizing.workers <= 512
    assert 1 <= sizing.threads <= 512
    if memory_bytes:
        held = 2 * sizing.workers * max(1, instances) * WORKER_BYTES
        assert held <= memory_bytes or sizing.workers == 1
    else:
        assert sizing.workers >= FEWEST_WORKERS
