"""A real nginx under a prefix of its own before real Gunicorns, started from a text that a test may break first."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import testinfra
from ports import free_port

from deploykit import wire
from deploykit.plan import (
    AppPlan,
    Desired,
    Facts,
    Layout,
    NginxBuild,
    Plan,
    Probe,
    Release,
    RenderedFile,
    Report,
    Route,
    SecretRef,
    SitePlan,
    Slot,
)
from deploykit.promises import promises
from deploykit.proof import prove
from deploykit.runtimes import CommandResult
from deploykit.spec.model import Spec

GENERATION = "5e1f00d"
RELEASE = "r1"
FOLDER = f"releases/web/{RELEASE}/code/static/"
EVERYTHING = frozenset({"read", "load", "disruptive"})

APP = """
def app(environ, start_response):
    path = environ["PATH_INFO"]
    known = {"/": "200 OK", "/healthz": "200 OK", "/crash": "500 Internal Server Error", "/refused": "400 Bad Request"}
    status = known.get(path, "404 Not Found")
    start_response(status, [("Content-Type", "text/plain")])
    return [b"hello from the app\\n"]
"""

CONFIG = """
USER
daemon off;
worker_processes 2;
pid tmp/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  types { text/css css; image/svg+xml svg; text/plain txt; }
  default_type application/octet-stream;
  access_log off;
  absolute_redirect off;
  client_body_temp_path tmp/body;
  proxy_temp_path tmp/proxy;
  fastcgi_temp_path tmp/fastcgi;
  uwsgi_temp_path tmp/uwsgi;
  scgi_temp_path tmp/scgi;
  map $http_x_deploykit_probe $dk_member {
    default "";
    GENERATION $upstream_addr;
  }
  upstream web {
    METHOD
    zone web 64k;
    server unix:run/web/1.sock weight=WEIGHT;
    server unix:run/web/2.sock SECOND;
    THIRD
  }
  server {
    listen HOST:PORT default_server;
    server_name _;
    return 444;
  }
  server {
    listen HOST:PORT;
    server_name deploykit.invalid;
    location / { return 444; }
    location = /generation { return 200 "GENERATION\\n"; }
  }
  server {
    listen HOST:PORT;
    server_name shop.test *.shop.test localhost;
    add_header X-Deploykit-Member $dk_member always;
    location / {
      proxy_pass http://web;
      client_max_body_size 10k;
    }
    location /old/ {
      if ($request_uri ~ "^/old/(?<rest>.+)$") { return 301 /new/$rest; }
    }
    location = /team.txt {
      root FOLDER;
      try_files /team.txt =404;
      add_header Cache-Control no-store;
      add_header X-Content-Type-Options nosniff always;
    }
    location /static/ {
      alias FOLDER;
      disable_symlinks on from=$document_root;
      add_header Cache-Control $dk_hashed;
      add_header X-Content-Type-Options nosniff always;
      location ~ /\\. { return 404; }
      location ~ "[.-][0-9a-f]{8,}\\.[^/]+$" { error_page 404 = /previous/$uri; }
    }
    location /previous//static/ {
      internal;
      alias releases/web/previous/code/static/;
      add_header Cache-Control $dk_hashed;
      add_header X-Content-Type-Options nosniff always;
    }
  }
  map $uri $dk_hashed {
    default "no-cache";
    "~[.-][0-9a-f]{8,}\\.[^/]+$" "public, max-age=31536000, immutable";
  }
}
"""


def until(done: Callable[[], object], what: str, seconds: float = 10.0) -> None:
    """Waits until it is done, and fails where it takes too long."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, f"{what} took longer than {seconds} s"
        time.sleep(0.02)


@contextmanager
def process(*words: str, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process with its children, all ended at the end."""
    with (cwd / "output").open("ab") as output:
        child = subprocess.Popen(words, cwd=cwd, stdout=output, stderr=output, start_new_session=True)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextmanager
def gunicorn(folder: Path) -> Iterator[tuple[Path, int]]:
    """Two members: one real Gunicorn on two sockets, `1.sock` and `2.sock` in the folder; with its process id."""
    (folder / "hello.py").write_text(APP)
    words = [sys.executable, "-m", "gunicorn", "--umask", "0o007", "--workers", "1", "--threads", "2"]
    binds = ["--bind", "unix:1.sock", "--bind", "unix:2.sock", "--no-control-socket"]
    with process(*words, *binds, "hello:app", cwd=folder) as child:
        ask = wire.Request(f"unix:{folder}/2.sock")
        until(lambda: wire.send(ask).status == 200, "Gunicorn's start")
        yield folder, child.pid


@dataclass
class Stand:
    """What a test starts from: a prefix with files, a configuration, a plan; change any of it, then `proved`."""

    prefix: Path
    members: Path
    members_pid: int
    port: int = field(default_factory=free_port)
    config: str = ""
    balance: str = "round_robin"
    weights: tuple[int, int] = (3, 1)
    hash_key: str = ""
    consistent: bool = False
    has_backup: bool = False
    """The second member is a backup."""
    has_vacant: bool = False
    """There is a third slot, without an instance."""
    user: str = "root" if os.geteuid() == 0 else str(os.geteuid())
    site_names: tuple[str, ...] = ("shop.test", "*.shop.test", "localhost")
    listen_host: str = "127.0.0.1"
    nginx: str = "nginx"
    framework: str = "wsgi"
    release_commands: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        self.config = CONFIG.replace("USER", "user root;" if os.geteuid() == 0 else "")
        for name in ("tmp", f"nginx/{GENERATION}", "run", FOLDER, f"releases/web/{RELEASE}/config"):
            (self.prefix / name).mkdir(parents=True)
        (self.prefix / "nginx/current").symlink_to(GENERATION)
        (self.prefix / "releases/web/current").symlink_to(RELEASE)
        (self.prefix / "run/web").mkdir(mode=0o750)
        for slot in (1, 2):
            (self.prefix / f"run/web/{slot}.sock").symlink_to(self.members / f"{slot}.sock")
        static = self.prefix / FOLDER
        (static / "style.css").write_text("body { color: black }\n")
        (static / "logo.ad58806dad33.svg").write_text("<svg/>\n")
        (static / "team.txt").write_text("people\n")
        (static / ".env").write_text("SECRET=canary\n")
        (static.parent / "settings.py").write_text("SECRET = 'canary'\n")
        (static / "out.css").symlink_to("../settings.py")
        (static.parent.parent / "config/launch.py").write_text("# the launcher\n")
        secrets = static.parent.parent / "secrets"
        secrets.write_bytes(b"KEY=canary\0")
        secrets.chmod(0o600)

    def breaks(self, old: str, new: str) -> None:
        """Another text in nginx's configuration than what keeps the promise."""
        assert old in self.config, f"{old!r} is not in the configuration"
        self.config = self.config.replace(old, new)

    @property
    def shown_host(self) -> str:
        return f"[{self.listen_host}]" if ":" in self.listen_host else self.listen_host

    @property
    def text(self) -> str:
        """nginx's configuration."""
        hashed = f"hash {self.hash_key}{' consistent' if self.consistent else ''};"
        methods = {"round_robin": "", "random": "random two least_conn;", "hash": hashed}
        method = methods.get(self.balance, f"{self.balance};")
        known = {
            "GENERATION": GENERATION,
            "HOST": self.shown_host,
            "PORT": str(self.port),
            "FOLDER": "releases/web/current/code/static/",
            "METHOD": method,
            "WEIGHT": str(self.weights[0]),
            "SECOND": "backup" if self.has_backup else "",
            "THIRD": "server unix:run/web/3.sock down;" if self.has_vacant else "",
        }
        text = self.config
        for name, value in known.items():
            text = text.replace(name, value)
        return text

    def desired(self) -> Desired:
        """What the spec would have led to."""
        app = self._app()
        routes = (
            Route("/", "web", "", "", 5.0, 10240, ("sites", "shop", "locations", "/")),
            Route(
                "/static/",
                "web",
                "releases/web/current/code/static/",
                "hashed",
                0.0,
                0,
                ("sites", "shop", "locations", "/static/"),
            ),
            Route(
                "/team.txt",
                "web",
                "releases/web/current/code/static/team.txt",
                "no-store",
                0.0,
                0,
                ("sites", "shop", "locations", "= /team.txt"),
                match="exact",
            ),
            Route(
                "/old/",
                "",
                "",
                "",
                0.0,
                0,
                ("sites", "shop", "locations", "/old/"),
                redirect="/new/",
                status=301,
                keeps_rest=True,
            ),
        )
        site = SitePlan("shop", self.site_names, f"http://localhost:{self.port}", routes, ("sites", "shop"))
        spec = Spec.model_validate(
            {
                "version": 1,
                "name": "shop",
                "apps": {"web": {"entrypoint": "hello:app"}},
                "checks": ({"get": "/", "contains": "hello"},),
            }
        )
        facts = Facts(NginxBuild((1, 22, 1), frozenset()), {"web": "3.11.2"}, 2, 1 << 30, self.user)
        plan = Plan(
            name="shop",
            target="process",
            layout=Layout(".", "releases/APP/RELEASE/code", "../config", f"{self.shown_host}:{self.port}"),
            listen_host=self.listen_host,
            listen_port=self.port,
            files=(),
            apps=(app,),
            sites=(site,),
            checks=promises((app,), (site,), spec),
            facts=facts,
        )
        digest = hashlib.sha256(self.text.encode()).hexdigest()
        files = (RenderedFile("nginx/nginx.conf", self.text, digest, "tested"),)
        return Desired(plan, files, GENERATION, {"web": Release("web", RELEASE, {})})

    def _app(self) -> AppPlan:
        slots = tuple(
            Slot(n, weight, f"unix:run/web/{n}.sock", backup=self.has_backup and n == 2)
            for n, weight in enumerate(self.weights, 1)
        )
        return AppPlan(
            name="web",
            source=".",
            framework=self.framework,
            entrypoint="hello:app",
            python="3.11",
            requirements="",
            server="gunicorn",
            server_requirement="gunicorn",
            protocol="http",
            socket="unix",
            workers=1,
            threads=2,
            sizing="",
            command=("gunicorn",),
            stop_signal="TERM",
            stop_grace_seconds=5.0,
            slots=slots,
            balance=self.balance,  # type: ignore[arg-type]
            environment={},
            secrets=(SecretRef("KEY", "env", "KEY"),),
            env_file="",
            release_commands=self.release_commands,
            volumes={},
            static_folders=("static",),
            probe=Probe("/healthz", "shop.test", (200, 399), "hello", 2.0, 2, 5.0),
            monitor_seconds=2.0,
            spec_path=("apps", "web"),
            vacant=(Slot(3, 1, "unix:run/web/3.sock"),) if self.has_vacant else (),
            hash_key=self.hash_key,
            consistent=self.consistent,
        )

    @contextmanager
    def running(self) -> Iterator[RealNginx]:
        """nginx with the configuration as it is now."""
        path = self.prefix / f"nginx/{GENERATION}/nginx.conf"
        path.write_text(self.text)
        with process(self.nginx, "-p", f"{self.prefix}/", "-c", "nginx/current/nginx.conf", cwd=self.prefix) as child:
            until(lambda: _listens(child, f"{self.shown_host}:{self.port}"), "nginx's start")
            yield RealNginx(self.prefix, child.pid, self.members_pid)

    def proved(self, *, kind: str = "", allow: frozenset[str] = EVERYTHING) -> Report:
        """The report on a running nginx; with `kind`, of just the checks of that kind."""
        with self.running() as runtime:
            return self.measured(runtime, kind=kind, allow=allow)

    def measured(self, runtime: RealNginx, *, kind: str = "", allow: frozenset[str] = EVERYTHING) -> Report:
        """The report on this nginx."""
        desired = self.desired()
        checks = tuple(check for check in desired.plan.checks if kind in ("", check.kind))
        assert checks, f"the plan has no check of kind {kind}"
        desired = replace(desired, plan=replace(desired.plan, checks=checks))
        return prove(desired, runtime, allow=allow, progress=lambda check: None)  # type: ignore[arg-type]


def _listens(child: subprocess.Popen[bytes], address: str) -> bool:
    assert child.poll() is None, "nginx ended at once"
    return wire.send(wire.Request(address, "/generation", host="deploykit.invalid")).error != "refused"


class RealNginx:
    """As much of a runtime as the checks ask of it, on processes that the test started."""

    def __init__(self, prefix: Path, nginx_pid: int, members_pid: int) -> None:
        self.prefix = prefix
        self.pids = {"nginx": nginx_pid, "web-1": members_pid, "web-2": members_pid}

    def exchange(self, vantage: str, requests: Sequence[wire.Request]) -> tuple[wire.Answer, ...]:
        return tuple(wire.exchange(requests))

    def ask_members(self, desired: Desired) -> Mapping[tuple[str, int], wire.Answer]:
        answers = {}
        for app in desired.plan.apps:
            for slot in app.slots:
                path = self.prefix / slot.address.removeprefix("unix:")
                answers[app.name, slot.number] = wire.send(wire.Request(f"unix:{path}", app.probe.path))
        return answers

    def nginx_accepts(self, desired: Desired) -> CommandResult:
        words = ["nginx", "-p", f"{self.prefix}/", "-c", "nginx/current/nginx.conf", "-t"]
        done = subprocess.run(words, cwd=self.prefix, capture_output=True, text=True, check=False)
        return CommandResult(done.returncode, done.stderr)

    def nginx_files_on_disk(self) -> Mapping[str, str]:
        top = self.prefix / "nginx/current"
        files = [path for path in top.rglob("*") if path.is_file()]
        return {f"nginx/{path.relative_to(top)}": hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def hosts(self) -> Mapping[str, Any]:
        return {name: testinfra.get_host("local://") for name in self.pids}

    def process_ids(self) -> Mapping[str, tuple[int, ...]]:
        return {name: (pid, *(c.pid for c in psutil.Process(pid).children())) for name, pid in self.pids.items()}
