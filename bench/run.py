"""Measures deploykit on this machine and writes bench/RESULTS.md: `python bench/run.py`, one part: `... reliability`.

What is compared is measured in one run and in turns, so that a slow minute of the machine hits all of it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from reliability import reliability, replaced

TOP = Path(__file__).parent.parent
DEPLOYKIT = (sys.executable, "-m", "deploykit")
APPS = (1, 100, 1000)
ROUNDS = 11
RENDER_ROUNDS = 3
LOAD_ROUNDS = 3
LOAD_SECONDS = 5
CONNECTIONS = 32
LOAD_TOOL = "wrk" if shutil.which("wrk") else "bench/client.py"


def main() -> None:
    """Measures, prints and writes."""
    os.environ["PYTHONPATH"] = str(TOP)
    results = TOP / "bench" / "RESULTS.md"
    if sys.argv[1:] == ["reliability"]:
        section = "\n".join(reliability()) + "\n"
        results.write_text(replaced(results.read_text(), section))
        print(section)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        parts = [heading(), *start_times(), *render_times(Path(folder)), *throughput(Path(folder)), *reliability()]
    text = "\n".join(parts) + "\n"
    results.write_text(text)
    print(text)


def heading() -> str:
    """What was measured where."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=TOP, capture_output=True, text=True, check=False
    )
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr.strip()
    cpus = f"{len(os.sched_getaffinity(0))} CPUs ({model[1] if model else '?'})"
    return f"""# Measured by `python bench/run.py`

{time.strftime("%Y-%m-%d")}, commit {commit.stdout.strip()}, {cpus},
{platform.system()} {platform.release()}, Python {platform.python_version()}, {nginx}, load by `{LOAD_TOOL}`.
Medians of alternating runs; other work on the machine moves the figures, the ratios less.
"""


def start_times() -> Iterator[str]:
    """The command line beside the interpreter that it runs on."""
    bare, version, help_text = in_turns(
        ROUNDS,
        lambda: timed([sys.executable, "-c", "pass"]),
        lambda: timed([*DEPLOYKIT, "--version"]),
        lambda: timed([*DEPLOYKIT, "--help"]),
    )
    yield "## Starting\n"
    yield from table(
        ("command", "wall time", "ratio"),
        ("`python -c pass`", f"{bare * 1000:.0f} ms", "1"),
        ("`deploykit --version`", f"{version * 1000:.0f} ms", f"{version / bare:.1f}"),
        ("`deploykit --help`", f"{help_text * 1000:.0f} ms", f"{help_text / bare:.1f}"),
    )


def render_times(folder: Path) -> Iterator[str]:
    """`deploykit render` into an empty folder, for specs of more and more apps."""

    def render(count: int) -> Callable[[], float]:
        spec = write_spec(folder / f"apps-{count}", count)

        def once() -> float:
            shutil.rmtree(folder / "out", ignore_errors=True)
            words = [*DEPLOYKIT, "render", "--file", str(spec), "--target", "process", "--output", str(folder / "out")]
            return timed(words)

        return once

    seconds = in_turns(RENDER_ROUNDS, *(render(count) for count in APPS))
    yield "\n## `deploykit render`, one site for each app\n"
    yield from table(
        ("apps", "wall time", "beside 1 app", "each further app"),
        *(
            (str(count), f"{took:.2f} s", f"{took / seconds[0]:.1f}", each_further(took - seconds[0], count - 1))
            for count, took in zip(APPS, seconds, strict=True)
        ),
    )


def each_further(more_seconds: float, apps: int) -> str:
    return f"{more_seconds / apps * 1000:.1f} ms" if apps else ""


def write_spec(folder: Path, count: int) -> Path:
    """A spec of that many apps and sites, with a folder of code for each app."""
    lines = ["version: 1", f"name: apps-{count}", "apps:"]
    for number in range(count):
        source = folder / f"app-{number}"
        source.mkdir(parents=True)
        (source / "app.py").write_text("def app(environ, start_response): ...\n")
        lines.append(f"  app-{number}: {{source: app-{number}/, entrypoint: 'app:app'}}")
    lines.append("sites:")
    for number in range(count):
        locations = f"locations: {{/: app-{number}}}"
        lines.append(f"  site-{number}: {{server_name: [site-{number}.example.com], {locations}}}")
    (folder / "deploykit.yaml").write_text("\n".join(lines) + "\n")
    return folder / "deploykit.yaml"


def throughput(folder: Path) -> Iterator[str]:
    """The Flask example behind nginx beside its app server alone, with as many workers and threads in all."""
    home = folder / "flask"
    shutil.copytree(TOP / "examples" / "flask", home, ignore=shutil.ignore_patterns(".deploykit", "data", "media"))
    stack_port, alone_port = free_port(), free_port()
    spec = home / "deploykit.yaml"
    spec.write_text(re.sub(r"(?m)^(name: ).*", rf"\1bench-{os.getpid()}", spec.read_text()))
    spec.write_text(re.sub(r"(?m)^listen: \S+", f"listen: 127.0.0.1:{stack_port}", spec.read_text()))
    try:
        subprocess.run([*DEPLOYKIT, "up", "--target", "process"], cwd=home, check=True, stdout=sys.stderr)
        with gunicorn_alone(next((home / ".deploykit").glob("bench-*")), alone_port) as workers:
            stack, alone = f"http://localhost:{stack_port}", f"http://localhost:{alone_port}"
            alone_rate, stack_rate, static_rate = in_turns(
                LOAD_ROUNDS,
                lambda: requests_per_second(f"{alone}/whoami"),
                lambda: requests_per_second(f"{stack}/whoami"),
                lambda: requests_per_second(f"{stack}/static/style.css"),
            )
    finally:
        subprocess.run([*DEPLOYKIT, "down", "--volumes", "--yes"], cwd=home, check=False, stdout=sys.stderr)
    yield f"\n## Requests per second, {CONNECTIONS} kept connections, {workers} Gunicorn workers in all\n"
    yield from table(
        ("what", "requests/s", "ratio"),
        ("Gunicorn alone, `/whoami`", f"{alone_rate:.0f}", "1"),
        ("the stack of `examples/flask`, `/whoami`", f"{stack_rate:.0f}", f"{stack_rate / alone_rate:.2f}"),
        ("the stack, a static file", f"{static_rate:.0f}", f"{static_rate / alone_rate:.2f}"),
    )


@contextlib.contextmanager
def gunicorn_alone(stack: Path, port: int) -> Iterator[int]:
    """The app server of the running stack's release, with its own config, on a TCP port; gives its workers in all."""
    release = (stack / "releases" / "web" / "current").resolve()
    config = release / "config" / "gunicorn.conf.py"
    each = re.search(r"(?m)^workers = (\d+)", config.read_text())
    assert each is not None  # noqa: S101 -- of a file that deploykit has just written
    workers = 2 * int(each[1])
    words = ["-m", "gunicorn", "--config", str(config), "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    environment = os.environ | {"DEPLOYKIT_SOCKET": "not used", "BEHIND_NGINX": "1", "RELEASE_NOTE": "first"}
    python = next(iter(stack.glob("venvs/*/bin/python")))
    server = subprocess.Popen([python, *words], cwd=release / "code", env=environment)
    try:
        wait_for(f"http://localhost:{port}/healthz")
        yield workers
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def wait_for(url: str) -> None:
    """Raises URLError where nothing answers in ten seconds."""
    deadline = time.monotonic() + 10
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 -- a URL of our own
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def requests_per_second(url: str) -> float:
    """What `wrk` measures or, where there is none, our own client; every answer has to be a good one."""
    options: Mapping[str, Sequence[str]] = {
        "wrk": ["wrk", "--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{LOAD_SECONDS}s", url],
        "bench/client.py": [sys.executable, str(TOP / "bench" / "client.py"), url, str(CONNECTIONS), str(LOAD_SECONDS)],
    }
    output = subprocess.run(options[LOAD_TOOL], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s*([0-9.]+)", output)
    if rate is None or "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"not every answer was a good one:\n{output}")
    return float(rate[1])


def in_turns(rounds: int, *measurements: Callable[[], float]) -> list[float]:
    """The median of each, measured in turns, after one round that does not count."""
    taken = [[measure() for measure in measurements] for _ in range(rounds + 1)][1:]
    return [statistics.median(column) for column in zip(*taken, strict=True)]


def timed(words: Sequence[str]) -> float:
    """Wall seconds of a command that has to succeed."""
    began = time.perf_counter()
    subprocess.run(words, cwd=TOP, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return time.perf_counter() - began


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table(header: Sequence[str], *rows: Sequence[str]) -> Iterator[str]:
    """Markdown."""
    yield "| " + " | ".join(header) + " |"
    yield "| " + " | ".join("---" for _ in header) + " |"
    yield from ("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    main()
