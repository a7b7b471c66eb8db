"""What will exist: files, apps, upstreams, sites and checks, with every decision taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deploykit.plan.facts import Facts
from deploykit.plan.words import BalanceMethod, Match, SpecPath, TargetName


def is_loopback(host: str) -> bool:
    """Whether nobody but the machine itself reaches what listens there."""
    return host.startswith(("127.", "localhost", "::1"))


@dataclass(frozen=True)
class Layout:
    """Where things lie on a target, all relative to the working folder of what uses them.

    The prefix is nginx's working folder and `-p`:

        nginx/current/nginx.conf          current -> GENERATION, one folder per generation
        run/APP/SLOT.sock -> RELEASE-SLOT.sock        what nginx connects to: a link per slot
        run/APP/RELEASE-SLOT.sock                     what an instance listens on
        releases/APP/current -> RELEASE               what nginx serves files from
        releases/APP/previous -> RELEASE              what served before, for its hashed files
        releases/APP/RELEASE/code/                    the copy of the source (docker: just its static folders)
        volumes/APP/VOLUME/                           data that outlives releases
        logs/  tmp/nginx/                             written by nginx
    """

    prefix: str
    """`.` where the tree is relative to where deploykit keeps it, else an absolute path."""
    code: str
    """The app's working folder as the app sees it, relative to the prefix or absolute."""
    config: str
    """The folder of the app's rendered files, relative to the app's working folder."""
    listen: str
    """What nginx itself listens on, such as `127.0.0.1:8080` or `8080`."""


@dataclass(frozen=True)
class FilePlan:
    """One file to be rendered: from which template, with which values, and why."""

    path: str
    """Relative to the tree, such as `nginx/nginx.conf` or `apps/web/gunicorn.conf.py`."""
    template: str
    values: Mapping[str, object]
    reason: str
    spec_path: SpecPath = ()
    mode: int = 0o644


@dataclass(frozen=True)
class RenderedFile:
    """One file as it will lie on the target."""

    path: str
    text: str
    digest: str
    """SHA-256 of the text in UTF-8, hex."""
    reason: str
    spec_path: SpecPath = ()
    mode: int = 0o644


@dataclass(frozen=True)
class Probe:
    """How one instance, or the app through nginx, is asked whether it is healthy."""

    path: str
    host: str
    statuses: tuple[int, int]
    """The lowest and the highest status that mean healthy."""
    contains: str
    timeout_seconds: float
    retries: int
    start_period_seconds: float


@dataclass(frozen=True)
class Slot:
    """One member of an upstream, the same through all releases."""

    number: int
    """Counts from 1."""
    weight: int
    address: str
    """As nginx's `server` wants it: `unix:run/web/1.sock` or `127.0.0.1:8101`."""
    backup: bool = False
    """Gets requests only while none of the others can be reached."""
    max_conns: int = 0
    """The most requests it may have at a time; 0 for as many as come."""


@dataclass(frozen=True)
class SecretRef:
    """Where a secret comes from; never its value."""

    name: str
    kind: Literal["env", "file", "command"]
    origin: str
    """The variable or the file; empty for a command."""
    command: tuple[str, ...] = ()
    """The words of the command that prints it."""


@dataclass(frozen=True)
class AppPlan:
    """One app with every decision taken."""

    name: str
    source: str
    """Relative to the spec's folder."""
    framework: str
    entrypoint: str
    python: str
    """`X.Y` of the Python it runs on."""
    requirements: str
    """The file in the source, empty where there is none."""
    server: str
    """Name of the app server's driver."""
    server_requirement: str
    """What pip installs where the app's requirements don't bring it, such as `gunicorn>=23`."""
    protocol: Literal["http", "uwsgi"]
    socket: Literal["unix", "tcp"]
    workers: int
    threads: int
    sizing: str
    """In a sentence, why that many workers and threads."""
    command: tuple[str, ...]
    """What an instance runs, in the app's working folder; the first word is found in the app's own environment."""
    stop_signal: str
    """The signal after which the server finishes its requests and ends, such as `TERM`."""
    stop_grace_seconds: float
    slots: tuple[Slot, ...]
    """Those that have an instance, by number."""
    balance: BalanceMethod
    environment: Mapping[str, str]
    secrets: tuple[SecretRef, ...]
    env_file: str
    """Relative to the spec's folder; empty where there is none."""
    release_commands: tuple[tuple[str, ...], ...]
    volumes: Mapping[str, str]
    """Volume name to its path in the source."""
    static_folders: tuple[str, ...]
    """Folders in the source that nginx serves; may be filled by the release commands."""
    probe: Probe
    monitor_seconds: float
    """How long after a switch its instances have to stay as they are."""
    spec_path: SpecPath
    vacant: tuple[Slot, ...] = ()
    """Slots without an instance that keep their places in the upstream, so that clients of the others stay."""
    hash_key: str = ""
    """With `hash`: text with nginx's variables."""
    consistent: bool = False
    """With `hash`: few keys move where a slot comes or goes."""

    @property
    def upstream(self) -> tuple[Slot, ...]:
        """Every slot in the order of the upstream, with and without an instance."""
        return tuple(sorted((*self.slots, *self.vacant), key=lambda slot: slot.number))


@dataclass(frozen=True)
class Route:
    """What answers below one path of a site."""

    path: str
    app: str
    """The app that answers or, for files, the app that they belong to; empty for a redirect."""
    folder: str
    """Relative to the prefix, ends in `/`, but for a path alone, where it is a file; empty where the app answers."""
    cache_control: str
    """`immutable`, `hashed`, `no-cache`, `no-store` or `max-age=N`; empty where the app answers."""
    timeout_seconds: float
    body_bytes: int
    spec_path: SpecPath
    match: Match = "prefix"
    """How `path` is compared with that of a request; a regular expression stands in `path` as it is."""
    redirect: str = ""
    """Where clients are sent; empty where they are answered."""
    status: int = 0
    """Of the redirect."""
    keeps_rest: bool = False
    """Whether what comes after the path goes into the redirect too."""
    strips_prefix: bool = False

    @property
    def directory(self) -> str:
        """The folder that nginx has to see, ends in `/`; empty where it serves no file here."""
        return self.folder if self.folder.endswith("/") or not self.folder else self.folder.rpartition("/")[0] + "/"

    @property
    def askable(self) -> bool:
        """Whether `path` is an address that can be asked for."""
        return self.match in ("prefix", "exact")

    @property
    def previous_folder(self) -> str:
        """Where the same files of the release before lie; empty where only the current ones are answered.

        A name that clients may keep for a year is asked for by pages of the release before; any other name is what
        the release that serves says it is, or nothing.
        """
        top = f"releases/{self.app}/"
        kept = self.match == "prefix" and self.cache_control in ("immutable", "hashed")
        if not kept or not self.folder.endswith("/") or not self.folder.startswith(f"{top}current/"):
            return ""
        return f"{top}previous/{self.folder.removeprefix(f'{top}current/')}"


@dataclass(frozen=True)
class SitePlan:
    """One site: every name it answers to, and its routes in the order of the spec."""

    name: str
    server_names: tuple[str, ...]
    url: str
    """Where a person on this machine finds it."""
    routes: tuple[Route, ...]
    spec_path: SpecPath


Effect = Literal["read", "load", "disruptive"]


@dataclass(frozen=True)
class Check:
    """One promise of the stack that can be measured; `kind` names how, `values` are its parameters.

    The kinds are the functions of `proof.checks`, one each.
    """

    kind: str
    promise: str
    spec_path: SpecPath
    effect: Effect
    values: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Everything that will exist, with every decision taken and its reason."""

    name: str
    target: TargetName
    layout: Layout
    listen_host: str
    listen_port: int
    files: tuple[FilePlan, ...]
    apps: tuple[AppPlan, ...]
    sites: tuple[SitePlan, ...]
    checks: tuple[Check, ...]
    facts: Facts

    @property
    def nginx_shape(self) -> str:
        """Digest of what a reload of nginx can't change: its program or image and, in a container, ports and mounts."""
        import hashlib

        shape: list[object] = [self.facts.nginx.command, self.facts.nginx.version]
        if self.target == "docker":
            mounts = [(app.name, sorted(app.volumes)) for app in self.apps]
            shape += [self.facts.images.get("nginx", ""), self.listen_host, self.listen_port, mounts]
        return hashlib.sha256(repr(shape).encode()).hexdigest()[:16]

    @property
    def only_on(self) -> str:
        """The machine of an Engine elsewhere where nobody but itself reaches the stack; empty where others do."""
        return self.facts.engine_host if is_loopback(self.listen_host) else ""

    def app(self, name: str) -> AppPlan:
        """The app of that name; KeyError where there is none."""
        for app in self.apps:
            if app.name == name:
                return app
        raise KeyError(name)
