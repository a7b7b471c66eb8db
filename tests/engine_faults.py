"""A site on an Engine whose every release and nginx configuration can change, and `deploykit` on it through a proxy."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from browser import Browser
from engine_proxy import ENGINE, Asked, EngineProxy, Fault, How
from invariants import Invariants
from load import Load
from ports import free_port
from stacks import Example

from deploykit.converge import open_stack
from deploykit.engine.labels import ROLE, Names
from deploykit.runtimes import Stack

COMMAND = (sys.executable, "-m", "deploykit")
CLIENTS = 4
ROUNDS = 4
"""How often each command is killed where nobody asked for the long run."""
UP: Mapping[str, Sequence[str]] = {
    # What checks measure beyond reading is another test's.
    "up": ("--target", "docker", "--allow", "read"),
    "rollback": (),
    "down": (),
}
LONG = bool(os.environ.get("DEPLOYKIT_LONG"))

APP_TEXT = """
import json
import os
import time
import urllib.parse

NOTE = os.environ["RELEASE_NOTE"]


def app(environ, start_response):
    path, query = environ["PATH_INFO"], environ["QUERY_STRING"]
    kind, body = "application/json", b"fine"
    if path == "/whoami":
        body = json.dumps({"app": "site", "path": f"{path}?{query}", "release_note": NOTE}).encode()
    elif path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/slow":
        seconds = min(5.0, float(urllib.parse.parse_qs(query)["seconds"][0]))
        time.sleep(seconds)
        body = b"slept"
    start_response("200 OK", [("Content-Type", kind), ("X-Release-Note", NOTE), ("Content-Length", str(len(body)))])
    return [body]
"""

SPEC = """
version: 1
name: {name}
apps:
  web:
    entrypoint: page:app
    app_server: {{type: gunicorn, workers: 1, threads: 8}}
    instances: {instances}
    healthcheck: {{path: /health, contains: fine}}
    environment: {{RELEASE_NOTE: r{number}}}
    release: [touch made-by-release]
    volumes: {{data: data/}}
    timeout: 10s
sites:
  site:
    locations:
      /: web
      /static/: {{files: static/, cache_control: {number}h}}
listen: 127.0.0.1:{port}
images: {{python: "deploykit/python:3.11", nginx: "deploykit/nginx:1.22"}}
"""


@dataclass(frozen=True)
class Ended:
    """How a command of deploykit ended."""

    code: int
    out: str
    err: str
    asked: Sequence[Asked] = ()
    """What it asked of the Engine."""
    hit: Asked | None = None
    """Where it met the fault."""

    @property
    def points(self) -> list[Asked]:
        """What of that changes something."""
        return [each for each in self.asked if each.changes]

    def __str__(self) -> str:
        return f"exit {self.code}, fault at {self.hit}\n{self.out}{self.err}"


class Site:
    """One stack on an Engine; `change` makes the next `up` one of a new release and a new nginx configuration."""

    def __init__(self, folder: Path, client: Any = None, *, instances: int = 1) -> None:
        self.folder = folder
        self.slots = range(1, instances + 1)
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.number = 0
        self.names = Names(Stack(self.name, folder))
        self.client = client or docker.DockerClient(base_url=f"unix://{ENGINE}", timeout=120)
        (folder / "static").mkdir(parents=True)
        (folder / "static" / "style.css").write_text("body {}\n")
        (folder / "page.py").write_text(APP_TEXT)
        self.change()

    @property
    def home(self) -> Path:
        return self.folder / ".deploykit" / self.name

    @property
    def note(self) -> str:
        """What a release made from the spec as it is now calls itself."""
        return f"r{self.number}"

    def change(self) -> None:
        """The spec asks for another release and another configuration of nginx."""
        self.number += 1
        text = SPEC.format(name=self.name, number=self.number, port=self.port, instances=len(self.slots))
        (self.folder / "deploykit.yaml").write_text(text)

    def run(self, *words: str, fault: Fault | None = None, every_seconds: float = 0.0, seconds: float = 600) -> Ended:
        """How `deploykit WORDS` ended, with that fault of the Engine in it."""
        with EngineProxy(fault=fault, every_seconds=every_seconds) as proxy:
            running = self.started(words, proxy.address)
            proxy.killed(running)
            out, err = _ended(running, seconds)
        return Ended(running.returncode, out, err, tuple(proxy.asked), proxy.hit)

    def run_at(self, engine: str, *words: str, seconds: float = 120, **variables: str) -> Ended:
        """How `deploykit WORDS` ended with what is at that address as its Engine."""
        running = self.started(words, engine, **variables)
        out, err = _ended(running, seconds)
        return Ended(running.returncode, out, err)

    def started(self, words: Sequence[str], engine: str, **variables: str) -> subprocess.Popen[str]:
        """`deploykit WORDS`, which no more than its owner may use what it has no right to, also where that is root."""
        return subprocess.Popen(
            [*COMMAND, *words],
            cwd=self.folder,
            env={**os.environ, **variables, "DOCKER_HOST": engine},
            preexec_fn=_as_mortal,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def done(self, *words: str) -> Ended:
        """The same, which has to succeed."""
        ended = self.run(*words)
        assert ended.code == 0, f"deploykit {' '.join(words)}: {ended}"
        return ended

    def up(self) -> Ended:
        """`deploykit up` with the checks that only read: what else they measure is another test's."""
        return self.done("up", *UP["up"])

    @property
    def is_up(self) -> bool:
        """Whether deploykit remembers it as up, and an nginx of it runs."""
        return f"container {self.names.nginx}" in self.there()

    def live(self) -> str:
        return next((each["id"] for each in self.json("releases")["releases"] if each["live"]), "")

    def wanted_release(self) -> str:
        """The release that the spec asks for."""
        return str(self.json("plan")["releases"]["web"]["id"])

    def told(self) -> str:
        """What the release that answers a client calls itself."""
        reply = Browser(self.url).get("/whoami")
        return reply.headers.get("x-release-note", "") if reply.status == 200 else f"{reply.status}"

    def json(self, *words: str) -> Any:
        return json.loads(self.done(*words, "--json").out)

    def older(self) -> str:
        """The newest release that is not the live one, empty where there is none."""
        return next((each["id"] for each in self.json("releases")["releases"] if not each["live"]), "")

    def load(self) -> Load:
        """A modest load, over any of which no request may be lost."""
        return Load(self.url, app="site", clients=CLIENTS, trickle=False, slow_seconds=1.0)

    def remove(self) -> None:
        """Nothing of it stays."""
        self.run("down", "--volumes", "--yes")
        self.client.close()

    def wait_for_scripts(self) -> None:
        """What the one that was killed had started in a container has ended, so that what is live is known."""
        label = [self.names.mine["label"], f"{ROLE}=hands"]
        for container in self.client.containers.list(filters={"label": label}, ignore_removed=True):
            container.wait(timeout=120)

    def invariants(self) -> Invariants:
        """Those of any stack, from now on. `broken` looks closer at what a kill may leave, and is quick."""
        example = Example.__new__(Example)
        example.kind, example.target, example.folder, example.name = "site", "docker", self.folder, self.name
        return Invariants(example)

    # --- what is there, seen past deploykit ---

    def there(self) -> set[str]:
        """Everything on the Engine that is named or labelled as this stack's."""
        found = set()
        for container in self.client.containers.list(all=True, ignore_removed=True):
            if self._is_mine(container.name, container.labels):
                found.add(f"container {container.name}")
        for volume in self.client.api.volumes().get("Volumes") or []:
            if self._is_mine(volume["Name"], volume.get("Labels")):
                found.add(f"volume {volume['Name']}")
        for network in self.client.api.networks():
            if self._is_mine(network["Name"], network.get("Labels")):
                found.add(f"network {network['Name']}")
        for image in self.client.api.images():
            tags = [tag for tag in image.get("RepoTags") or () if tag != "<none>:<none>"]
            if self._is_mine(" ".join(tags), image.get("Labels")):
                found.add(f"image {' '.join(tags) or image['Id']}")
        return found

    def _is_mine(self, name: str | None, labels: Mapping[str, str] | None) -> bool:
        return self.name in (name or "") or self.names.mine["label"] in {f"{k}={v}" for k, v in (labels or {}).items()}

    def broken(self) -> list[str]:
        """What is not as it has to be where this stack is up and nobody is at work on it: the invariants."""
        session = open_stack(self.folder / "deploykit.yaml", "docker", lambda _line: None)
        changes, desired, seen = session.changes()
        session.runtime.probe.close()  # type: ignore[attr-defined]
        live, releases = seen.live.get("web", ""), [each.id for each in seen.complete.get("web", ())]
        if not live:
            return [f"no release is live: {seen}"]
        wrong = []
        if live == desired.releases["web"].id:
            wrong += [f"the next up would {step}" for step in changes.steps]
        if not seen.nginx.live or seen.nginx.live != seen.nginx.on_disk:
            wrong.append(
                f"nginx runs {seen.nginx.live}, on disk is {seen.nginx.on_disk}, the spec says {desired.generation}"
            )
        wrong += [f"{each}" for each in seen.members if not (each.state == "running" and each.healthy)]
        wanted, there = self._wanted(live, releases), self.there()
        wrong += [f"left over: {each}" for each in sorted(there - wanted)]
        wrong += [f"missing: {each}" for each in sorted(wanted - there)]
        return wrong or self._files(live, releases)

    def _wanted(self, live: str, releases: Sequence[str]) -> set[str]:
        names = self.names
        volumes = [names.nginx_files, names.sockets("web"), names.secrets("web"), names.served("web")]
        volumes += [names.volume("web", "data"), *(names.code("web", each) for each in releases)]
        containers = [names.nginx, *(names.instance("web", slot, live) for slot in self.slots)]
        return (
            {f"container {each}" for each in containers}
            | {f"volume {each}" for each in volumes}
            | {f"image {names.image('web', each)}" for each in releases}
            | {f"network {names.network}"}
        )

    def _files(self, live: str, releases: Sequence[str]) -> list[str]:
        nginx = self.client.containers.get(self.names.nginx)
        member = self.client.containers.get(self.names.instance("web", 1, live))
        wrong = []
        links = {
            f"releases/web/current -> {live}",
            *(f"run/web/{slot}.sock -> {live}-{slot}.sock" for slot in self.slots),
        }
        files = _listed(nginx, "/srv/deploykit", "releases/web", "run/web", "nginx")
        generations = {each.split("/")[1] for each in files if each.startswith("nginx/") and " -> " not in each}
        wanted = (
            links | {f"releases/web/{each}" for each in releases} | {f"run/web/{live}-{n}.sock" for n in self.slots}
        )
        wanted |= {f"nginx/{each}" for each in generations}
        current = [each.rpartition(" -> ")[2] for each in files if each.startswith("nginx/current -> ")]
        wanted |= {f"nginx/current -> {each}" for each in current}
        # Its hashed files are answered for one release longer.
        wanted |= {each for each in files if each.startswith("releases/web/previous -> ")}
        wrong += [f"left over: {each}" for each in sorted(files - wanted)]
        wrong += [f"missing: {each}" for each in sorted(wanted - files)]
        # The live one, the one before, and one that was staged and goes with the next that is run.
        if len(generations) > 3 or (current and current[0] not in generations):
            wrong.append(f"configurations of nginx: {generations}, the current one {current}")
        secrets = _listed(member, "/srv/app/secrets", ".")
        if secrets != {f"./{each}" for each in releases}:
            wrong.append(f"files of secrets: {secrets} for {releases}")
        parts = [each.name for each in self.home.rglob("*.part")]
        wrong += [f"left over: {each}" for each in parts]
        said = nginx.logs().decode(errors="replace").splitlines()
        wrong += [line for line in said if "[emerg]" in line or "[alert]" in line]
        return wrong


def _as_mortal() -> None:
    """Without CAP_DAC_OVERRIDE (1) from the next program on: PR_CAPBSET_DROP (24), which only root needs."""
    ctypes.CDLL(None).prctl(24, 1)


def _ended(running: subprocess.Popen[str], seconds: float) -> tuple[str, str]:
    try:
        return running.communicate(timeout=seconds)
    finally:
        running.kill()


def _listed(container: Any, top: str, *folders: str) -> set[str]:
    """What is right in these folders of a container, each with what it links to."""
    code, said = container.exec_run(
        ["find", *folders, "-mindepth", "1", "-maxdepth", "1", "-printf", "%p -> %l\\n"], workdir=top
    )
    assert code == 0, said
    return {line.removesuffix(" -> ") for line in said.decode().splitlines()}


@contextlib.contextmanager
def made(folder: Path, *, instances: int = 1) -> Iterator[Site]:
    """A site that is not up yet; nothing of it stays."""
    site = Site(folder, instances=instances)
    try:
        yield site
    finally:
        site.remove()


# --- killed, and then ----------------------------------------------------------------------------------------------


def points_tried(points: Sequence[Asked]) -> list[tuple[int, How]]:
    """Where and how a command is killed: everywhere in the long run, else at the first few of every third point.

    In the long run a build is killed in its middle too.
    """
    both: tuple[How, How] = ("kill before", "kill after")
    if not LONG:
        return [(at, both[at // 3 % 2]) for at in range(2, len(points) + 1, 3)][:ROUNDS]
    middle: list[tuple[int, How]] = [
        (at, "kill amid") for at, each in enumerate(points, 1) if each.what == "POST build"
    ]
    return [(at, how) for at in range(1, len(points) + 1) for how in both] + middle


def killed_and_then(site: Site, words: Sequence[str], at: int, how: How, then: str) -> list[str]:
    """What was wrong after `deploykit WORDS` was killed there and one other command had its turn; empty: nothing."""
    label = f"{' '.join(words)}, {how} {at}"
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        serves = site.is_up and words[0] != "down"
        load = stack.enter_context(site.load()) if serves else None
        ended = site.run(*words, *UP[words[0]], fault=Fault(how, at))
        label += f" ({ended.hit.what if ended.hit else 'not reached'}), then {then}"
        if ended.code != -signal.SIGKILL:
            return [f"{label}: it was not killed: {ended}"]
        if then == "down":
            stack.close()
        site.wait_for_scripts()
        wanted = site.older() if then == "rollback" else ""
        wrong = _converged(site, then, wanted)
    if load is not None:
        seen = load.result
        if seen.failures or not seen.answers or seen.stale_close > 2 * CLIENTS // 2:
            wrong.append(f"the load saw {seen}")
    print(
        f"{label}: {time.monotonic() - began:.1f} s, {len(load.result.answers) if load else 0} answers, {wrong}",
        flush=True,
    )
    return [f"{label}: {each}" for each in wrong]


def _converged(site: Site, then: str, older: str) -> list[str]:
    """What is wrong after one more call."""
    if then == "changed up":
        site.change()
    words = ["rollback", older] if then == "rollback" else [then.split()[-1]]
    ended = site.run(*words, *UP[words[0]])
    if ended.code != 0:
        return [f"{ended}"]
    if then == "down":
        left = site.there() - {f"volume {site.names.volume('web', 'data')}"}
        left |= {f"file {each.name}" for each in site.home.glob("state.json")}
        return [f"left over: {each}" for each in sorted(left)]
    wrong = site.broken()
    live = site.live()
    note = site.note if then != "rollback" else ""
    if older and live != older:
        wrong.append(f"live is {live}, not {older}")
    if note and (told := site.told()) != note:
        wrong.append(f"{told} answers, not {note}")
    return wrong
