"""What the planner has to know of a target, read by a runtime and passed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NginxBuild:
    """An nginx as `nginx -V` describes it."""

    version: tuple[int, int, int]
    modules: frozenset[str]
    """Names such as `http_gzip_static`, without `--with-` and `_module`."""
    command: str = "nginx"
    """How it is started on the target: a name on PATH or a path."""
    loadable: tuple[str, ...] = ()
    """Paths of the modules that it could load, absolute on the target, sorted."""

    def loads(self, file: str) -> str:
        """The path of the module in that file, such as `ngx_stream_module.so`; empty where it can't load it."""
        return next((path for path in self.loadable if path.rpartition("/")[2] == file), "")

    @property
    def version_text(self) -> str:
        return ".".join(str(part) for part in self.version)


@dataclass(frozen=True)
class Facts:
    """What the planner knows of a target; the same spec and facts give the same plan on any machine."""

    nginx: NginxBuild
    pythons: Mapping[str, str]
    """App name to the full version of the Python it will run on, such as `3.11.7`."""
    cpus: int
    memory_bytes: int
    user: str
    """Who the processes run as on the target."""
    ports: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """App name to one TCP port per slot, for apps with `socket: tcp`."""
    images: Mapping[str, str] = field(default_factory=dict)
    """Docker target only: `nginx` and each app name to the base image that is used."""
    builds: Mapping[str, str] = field(default_factory=dict)
    """Docker target only: app name to the image that is promoted, where it is not made from the checkout."""
    engine_host: str = ""
    """Docker target only: the name or address by which its machine is reached; empty where it is this machine."""
