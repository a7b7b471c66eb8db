"""The part of the invariants that is of the process target: files below the stack's home, and this user's processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from ports import free_port
from stacks import Example

from deploykit.runtimes import Stack

SINGLE = {"state.json", "key", "lock"}
FOLDERS = {"supervisor", "logs", "nginx", "run", "releases", "venvs", "volumes", "tmp"}
STAYS = {"volumes", "lock"}
ENDS_WITHIN_SECONDS = 5.0
"""A child of supervisord's that ended is there until that has noticed."""


def processes(example: Example, stack: Stack) -> dict[int, psutil.Process]:
    """Every living process that carries the stack's id, or runs in its home without any environment to tell."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            environment = process.environ()
            ours = environment.get("DEPLOYKIT_STACK") == stack.id
            # nginx writes its title over its environment.
            if ours or ("PATH" not in environment and Path(process.cwd()).is_relative_to(example.home)):
                found[process.pid] = process
    return found


def wrong(
    example: Example, stack: Stack, wanted: Mapping[str, int], live: Mapping[str, str], known: set[tuple[str, str]]
) -> Iterator[str]:
    """What is there and should not be, or is not there and should."""
    deadline = time.monotonic() + ENDS_WITHIN_SECONDS
    while problems := list(_wrong_processes(example, stack, wanted, live)):
        if time.monotonic() > deadline:
            yield from problems
            break
        time.sleep(0.1)
    yield from _wrong_files(example.home, wanted, live, known)


def _wrong_processes(
    example: Example, stack: Stack, wanted: Mapping[str, int], live: Mapping[str, str]
) -> Iterator[str]:
    found = processes(example, stack)
    titles, parents = {}, {}
    for pid, process in found.items():
        with contextlib.suppress(psutil.Error):
            titles[pid], parents[pid] = " ".join(process.cmdline()), process.ppid()
    tops = [pid for pid in titles if parents[pid] not in titles]
    if len(tops) != 1 or "supervisor.supervisord" not in titles[tops[0]]:
        yield f"not one supervisord and all else below it: {[(pid, titles[pid]) for pid in tops]}"
        return
    programs = [titles[pid] for pid in titles if parents[pid] == tops[0]]
    fronts = [title for title in programs if title.startswith("nginx: master")]
    if len(fronts) != 1 or len(programs) != 1 + sum(wanted.values()):
        yield f"not one nginx and {sum(wanted.values())} instances: {programs}"


def _wrong_files(
    home: Path, wanted: Mapping[str, int], live: Mapping[str, str], known: set[tuple[str, str]]
) -> Iterator[str]:
    slots = [(app, slot) for app, count in wanted.items() for slot in range(1, count + 1)]
    yield from _differs(home, SINGLE | FOLDERS)
    programs = {"nginx.conf"} | {f"{app}-{slot}-{live[app]}.conf" for app, slot in slots}
    yield from _differs(home / "supervisor", {"supervisord.conf", "socket", "supervisord.pid", "programs"})
    yield from _differs(home / "supervisor" / "programs", programs)
    yield from _differs(home / "releases", set(wanted))
    yield from _differs(home / "run", set(wanted))
    used = set()
    for app in wanted:
        releases = {id for of, id in known if of == app}
        # There only since something was switched; what it names may be gone where that was taken back.
        before = home / "releases" / app / "previous"
        yield from _differs(
            home / "releases" / app, releases | {"current"} | ({"previous"} if before.is_symlink() else set())
        )
        for release in releases & {path.name for path in (home / "releases" / app).iterdir()}:
            used.add((home / "releases" / app / release / "environment").resolve().name)
        mine = [slot for of, slot in slots if of == app]
        sockets = {f"{slot}.sock" for slot in mine} | {f"{live[app]}-{slot}.sock" for slot in mine}
        yield from _differs(home / "run" / app, sockets)
        links = {home / "releases" / app / "current": live[app]}
        links |= {home / "run" / app / f"{slot}.sock": f"{live[app]}-{slot}.sock" for slot in mine}
        for link, target in links.items():
            if link.is_symlink() and str(link.readlink()) != target:
                yield f"{link.relative_to(home)} names {link.readlink()}, not {target}"
    yield from _differs(home / "venvs", used)
    current = (home / "nginx" / "current").resolve().name
    generations = {path.name for path in (home / "nginx").iterdir() if path.is_dir() and not path.is_symlink()}
    yield from _differs(home / "nginx", generations | {"current", "running.json"})
    if current not in generations or len(generations) > 3:
        yield f"nginx has the generations {sorted(generations)}; current is {current}"
    for generation in generations:
        if not (home / "nginx" / generation / "generation.json").is_file():
            yield f"nginx/{generation} was not written to its end"


def _differs(folder: Path, expected: set[str]) -> Iterator[str]:
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if there != expected:
        more, less = sorted(there - expected), sorted(expected - there)
        yield f"in {folder.parent.name}/{folder.name}: {more} too many, {less} missing"


def left(example: Example, stack: Stack) -> Iterator[str]:
    """What is there of a stack that was taken down."""
    found = processes(example, stack)
    for pid, process in found.items():
        with contextlib.suppress(psutil.Error):
            yield f"process {pid} is still there: {' '.join(process.cmdline())[:100]}"
    more = {path.name for path in example.home.iterdir()} - STAYS if example.home.is_dir() else set()
    if more:
        yield f"files are left: {sorted(more)}"


def not_bootable(example: Example, stack: Stack) -> Iterator[str]:
    """Why a fresh nginx would not serve from the files on disk; it gets a folder and a port of its own."""
    home = example.home
    command = json.loads((home / "nginx" / "running.json").read_text())["command"]
    tested = subprocess.run(
        [command, "-t", "-p", ".", "-c", "nginx/current/nginx.conf"], cwd=home, capture_output=True, text=True
    )
    if tested.returncode != 0:
        yield f"nginx -t: {tested.stderr}"
        return
    with tempfile.TemporaryDirectory() as name:
        place, port = Path(name), free_port()
        for each in ("run", "releases", "volumes"):
            (place / each).symlink_to(home / each)
        shutil.copytree(home / "nginx", place / "nginx", symlinks=True)
        (place / "tmp" / "nginx").mkdir(parents=True)
        for file in (place / "nginx" / "current").resolve().rglob("*.conf"):
            file.write_text(re.sub(rf"\b{example.port}\b", str(port), file.read_text()))
        words = [command, "-p", ".", "-c", "nginx/current/nginx.conf"]
        with subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as nginx:
            try:
                yield from _does_not_serve(nginx, port)
            finally:
                nginx.terminate()


def _does_not_serve(nginx: subprocess.Popen[str], port: int) -> Iterator[str]:
    deadline = time.monotonic() + 20
    seen = ""
    while time.monotonic() < deadline:
        if nginx.poll() is not None:
            yield f"a fresh nginx ended with {nginx.returncode}: {nginx.stderr.read() if nginx.stderr else ''}"
            return
        try:
            with urllib.request.urlopen(f"http://localhost:{port}/whoami", timeout=10) as answer:
                if answer.status == 200:
                    return
                seen = str(answer.status)
        except urllib.error.HTTPError as error:
            yield f"a fresh nginx answers {error.code}"
            return
        except OSError as error:
            seen = str(error)
        time.sleep(0.05)
    yield f"a fresh nginx does not serve: {seen}"


def generations(example: Example, stack: Stack) -> tuple[str, dict[str, Any], dict[str, str], str]:
    """What `current` names, its record, the digests of its files, and what the live nginx tells."""
    link = example.home / "nginx" / "current"
    current, folder = str(link.readlink()), link.resolve()
    manifest = json.loads((folder / "generation.json").read_text())
    found = {
        f"nginx/{path.relative_to(folder)}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "generation.json"
    }
    url = f"http://127.0.0.1:{example.port}/generation"
    request = urllib.request.Request(url, headers={"Host": "deploykit.invalid"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            live = answer.read().decode().strip()
    except OSError as error:
        live = str(error)
    return current, manifest, found, live
