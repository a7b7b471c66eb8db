"""How many workers and threads an instance gets where the spec does not say: from CPUs and memory, with the reason.

Sources: Gunicorn's design notes (more workers than cores are of no use to work that computes), the pool formula
threads = cores x (1 + wait / compute) of Goetz, *Java Concurrency in Practice*, and our own measurement on 2 cores.
With 5 ms of computing and 45 ms of waiting in each request, 2 workers of 10 threads served 325 requests/s, 1 of 20
threads 172 (one interpreter lock), 5 without threads 95. With 10 ms of computing only, nothing beat 2 workers.
"""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_WORKERS = 2
"""So that one stuck request, or a worker that is being renewed, does not stop an instance."""
MOST_WORKERS = 64
THREADS = 4
"""Room for requests that wait: of 50 ms waiting each, 2 workers of 4 threads served 154 requests/s, 2 alone 39."""
PER_WORKER_WITHOUT_THREADS = 4
"""How many workers each CPU gets at most where threads can't do the waiting."""
WORKER_BYTES = 96 << 20
"""What one worker is assumed to take; an app that takes more says `workers`."""
MEMORY_SHARE = 0.8
"""Of all memory; the rest is for nginx and the page cache."""
RELEASES_AT_ONCE = 2
"""While a new release goes in, the old one still runs beside it."""


@dataclass(frozen=True)
class Sizing:
    """Workers of each instance, threads of each worker, and why that many."""

    workers: int
    threads: int
    sentence: str


def workers_and_threads(
    cpus: int, memory_bytes: int, instances_on_machine: int, *, threads_safe: bool = True
) -> Sizing:
    """The sizing of one of `instances_on_machine` instances that share the CPUs and the memory.

    One worker per CPU, spread over the instances, at least two each; fewer where memory does not hold them, but one.
    `cpus` and `memory_bytes` are what the instances may use (a container's limit, not its host's); 0 means unknown.
    """
    cpus = max(1, cpus)
    instances = max(1, instances_on_machine)
    share = -(-cpus // instances)
    threads = THREADS if threads_safe else 1
    waiting = f"{threads} threads for waiting" if threads_safe else "no threads, because the app can't have them"
    wanted = share if threads_safe else share * PER_WORKER_WITHOUT_THREADS
    workers = min(max(wanted, FEWEST_WORKERS), MOST_WORKERS)
    reasons = [f"{_count(cpus, 'CPU')} over {_count(instances, 'instance')}: {_count(wanted, 'worker')} each"]
    if not threads_safe:
        reasons[0] += f", {PER_WORKER_WITHOUT_THREADS} for each CPU"
    if workers > wanted:
        reasons.append(f"at least {FEWEST_WORKERS} so that one stuck request does not stop it")
    elif workers < wanted:
        reasons.append(f"at most {MOST_WORKERS}")
    if memory_bytes > 0:
        fitting = max(1, int(memory_bytes * MEMORY_SHARE) // (instances * RELEASES_AT_ONCE * WORKER_BYTES))
        if fitting < workers:
            workers = fitting
            reasons.append(
                f"{fitting} because {memory_bytes >> 20} MiB hold no more, twice, at {WORKER_BYTES >> 20} MiB each"
            )
    return Sizing(workers, threads, f"{', '.join(reasons)}; {waiting}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
