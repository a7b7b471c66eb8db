"""The docker runtime: nginx and each instance in a container of its own on a Docker Engine, here or elsewhere.

What it is made of is in `deploykit.engine`. Nothing of this machine is mounted, so the Engine may be a remote one.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploykit import disk, wheels, wire
from deploykit.engine import (
    asking,
    bases,
    building,
    builds,
    connection,
    containers,
    exporting,
    images,
    instances,
    listening,
    observing,
    volumes,
)
from deploykit.engine import logs as reading
from deploykit.engine import nginx as front
from deploykit.engine.labels import APP, APP_ID, KEEP, LISTEN, PREFIX, RELEASE, SLOT, Names
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure
from deploykit.plan import (
    Build,
    BuildRelease,
    Desired,
    DiscardRelease,
    EndOrphans,
    Facts,
    Observed,
    Plan,
    PrepareBase,
    RunNginx,
    RunReleaseCommands,
    StageNginx,
    StartMember,
    Step,
    StopMember,
    StopNginx,
    SwitchRelease,
)
from deploykit.runtimes import CommandResult, LogLine, Runtime, Stack, Tell, Vantage
from deploykit.spec.model import Spec
from deploykit.wire import Answer, Request

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

FAILED: Mapping[type[Step], str] = {
    EndOrphans: "what was left behind could not be removed",
    PrepareBase: "the network and the volumes could not be made",
    BuildRelease: "release {release} of {app} could not be built",
    RunReleaseCommands: "the commands of release {release} of {app} could not be run",
    StartMember: "{app}-{slot} could not be started",
    SwitchRelease: "{app} could not be switched to release {release}",
    StageNginx: "nginx's configuration could not be put in its place",
    RunNginx: "nginx could not be told to run its configuration",
    StopMember: "{app}-{slot} of release {release} could not be stopped",
    DiscardRelease: "release {release} of {app} could not be removed",
    StopNginx: "nginx could not be stopped",
}
"""What is told where the Engine did not do a step."""

KEPT = ".kept"
"""Beside a folder of wheels that `deploykit wheels` fetched."""


class DockerRuntime:
    """One stack on the Engine that DOCKER_HOST or the current docker context names."""

    def __init__(self, stack: Stack, tell: Tell) -> None:
        self.stack = stack
        self.tell = tell
        self.names = Names(stack)
        self._secrets: Mapping[str, Mapping[str, str]] = {}
        self._builds: Mapping[str, Build] = {}

    @cached_property
    def client(self) -> DockerClient:
        return connection.connect()

    @cached_property
    def probe(self) -> asking.Probe:
        return asking.Probe(self.client, self.names)

    @cached_property
    def front(self) -> front.Front:
        return front.Front(self.client, self.names, self._told_generation)

    def _told_generation(self, nginx: Container) -> str:
        return self.probe.told_generation(nginx, LISTEN)

    # --- looked at ---

    def facts(self, spec: Spec, renewed: Collection[str] = ()) -> Facts:
        with connection.explained("can't ask the Engine"):
            local = bases.local_names(self.client)
            nginx, _ = bases.obtain(self.client, bases.nginx_candidates(spec, local), self.tell)
            used, pythons = bases.pythons(self.client, self.stack, spec, self._builds, self.tell)
            info = self.client.info()
            return Facts(
                nginx=bases.nginx_build(self.client, self.stack, nginx),
                pythons=pythons,
                cpus=int(info["NCPU"]),
                memory_bytes=int(info["MemTotal"]),
                user=str(APP_ID),
                images={"nginx": nginx, **used},
                # Nobody listens there: the target refuses `socket: tcp`, once the planner could write it down.
                ports={name: tuple(range(8101, 8101 + len(app.instances))) for name, app in spec.apps.items()},
                builds={name: build.image for name, build in self._builds.items()},
                engine_host=connection.engine_host(),
            )

    def secrets_reached(self, values: Mapping[str, Mapping[str, str]]) -> None:
        self._secrets = values

    def make_builds(
        self, spec: Spec, plan: Plan, dockerfiles: Mapping[str, str], wanted: Mapping[str, Build], *, push: bool
    ) -> Mapping[str, tuple[Build, bool]]:
        fetch = {app.name: functools.partial(self._wheels, plan, app.name) for app in plan.apps}
        with connection.explained("no image could be built"):
            tools = (self.stack.folder, fetch, self.tell)
            return builds.make_all(self.client, spec, plan, dockerfiles, wanted, *tools, push=push)

    def promote(self, spec: Spec, build: str) -> Mapping[str, Build]:
        with connection.explained(f"can't look for the build {build}"):
            self._builds = builds.find(self.client, spec, build, self.tell)
        return self._builds

    def observe(self, probes: bool = True) -> Observed:
        with connection.explained("can't see what is there"):
            return observing.observe(self.client, self.names, self._told_generation, probes)

    def refuse_taken(self, desired: Desired, observed: Observed) -> None:
        plan = desired.plan
        if observed.orphans:  # what is left behind may hold it, and is ended first
            return
        with connection.explained("can't ask who listens"):
            nginx = self.front.container()
            if nginx is None or nginx.status != "running" or not front.listens_on(nginx, plan.listen_port):
                image = plan.facts.images[plan.apps[0].name]
                listening.refuse_taken(self.client, self.names, image, plan.listen_host, plan.listen_port)

    # --- changed ---

    def apply(self, step: Step, desired: Desired) -> str:
        with connection.explained(FAILED[type(step)].format(**vars(step))):
            return self._apply(step, desired)

    def _apply(self, step: Step, desired: Desired) -> str:
        plan = desired.plan
        match step:
            case EndOrphans(orphans=orphans):
                return self._end_orphans(orphans)
            case PrepareBase():
                return self._prepare(desired)
            case BuildRelease(app=app):
                values = self._secrets.get(app, {})
                fetch = (lambda: None) if app in plan.facts.builds else functools.partial(self._wheels, plan, app)
                return building.build(self.client, self.names, desired, plan.app(app), values, fetch, self.tell)
            case RunReleaseCommands(app=app, release=release):
                return building.run_commands(self.client, self.names, plan.app(app), release, self.tell)
            case StartMember(app=app, slot=slot, release=release):
                return instances.start(self.client, self.names, app, slot, release, plan.app(app))
            case SwitchRelease(app=app, release=release, previous=before):
                return building.switch(self.client, self.names, plan.app(app), release, before, plan.facts.images[app])
            case StageNginx():
                return self._stage(desired)
            case RunNginx():
                return self.front.run(step, desired)
            case StopMember(app=app, slot=slot, release=release):
                which = (app, slot, release)
                return instances.stop_all(self.client, self.names, which, self.front.container(), self.tell)
            case DiscardRelease(app=app, release=release):
                # Any Python does for the files; the app itself may be in the plan no more.
                image = plan.facts.images[plan.apps[0].name]
                said = building.discard(self.client, self.names, app, release, image)
                if app not in desired.releases:
                    building.drop_volumes(self.client, self.names, app)
                return said
            case StopNginx():
                return self._stop_nginx()
        raise TypeError(f"no such step: {step!r}")

    def _end_orphans(self, orphans: Sequence[str]) -> str:
        ended = [name for name in orphans if not self.front.adopted(name)]
        for name in ended:
            if ":" in name:  # the tag of an image: no container has such a name
                images.remove_tag(self.client, name)
            else:
                instances.remove_by_name(self.client, self.names, name)
        return f"{len(ended)} ended" + (", one took its place" if len(ended) < len(orphans) else "")

    def _prepare(self, desired: Desired) -> str:
        self.front.container()
        building.prepare_network(self.client, self.names)
        building.prepare_volumes(self.client, self.names, desired)
        return "network and volumes"

    def _stage(self, desired: Desired) -> str:
        building.prepare_volumes(self.client, self.names, desired)
        result = front.stage(self.client, self.names, desired, self.front.container())
        if result.exit_code != 0:
            lines = tuple(result.output.strip().splitlines()[-20:])
            raise DeployFailed(Failure("nginx refuses its configuration", log_name="nginx -t", log_lines=lines))
        return f"nginx {desired.plan.facts.nginx.version_text} accepted {len(desired.nginx_files())} files"

    def _stop_nginx(self) -> str:
        self.probe.close()
        container = self.front.container()
        if container is not None:
            container.stop()
            containers.remove(container)
        return "ended"

    def fetch_wheels(self, plan: Plan, app: str, *, again: bool = False) -> Path:
        """The folder with the wheels of an app; fetched where they are not those that it needs, or `again`.

        Asked for by a person, they stay when the stack goes.
        """
        into = self._wheels(plan, app, again)
        disk.write(into.with_name(f"{app}{KEPT}"), "")
        return into

    def _wheels(self, plan: Plan, app: str, again: bool = False) -> Path:
        base = bases.python_base(self.client, self.stack, plan.facts.images[app])
        target = wheels.Target(base.version, base.machine, base.libc)
        into = self.stack.home / "wheels" / app
        return wheels.fetch(plan.app(app), self.stack.folder, into, target, self.tell, again=again)

    def undo_leftovers(self, desired: Desired) -> None:
        with connection.explained("can't remove what a failed step left"):
            for container in observing.look(self.client, self.names).others:
                containers.remove(container)
            _, half = images.listed(self.client, self.names)
            image = desired.plan.facts.images[desired.plan.apps[0].name]
            for app, release in half:
                building.discard(self.client, self.names, app, release, image, keep_layers=True)

    # --- asked ---

    def exchange(self, vantage: Vantage, requests: Sequence[Request]) -> tuple[Answer, ...]:
        if vantage == "outside" and connection.is_local():
            return tuple(wire.exchange(requests))
        with connection.explained("no request can be made there"):
            if vantage == "outside":
                return self.probe.on_engine(requests)
            nginx = self.front.container()
            if nginx is None or nginx.status != "running":
                raise EnvironmentLacks(
                    f"nginx of `{self.stack.full_name}` does not run", hint=f"deploykit up{self.stack.option}"
                )
            return self.probe.in_nginx(nginx, requests)

    def ask_members(self, desired: Desired) -> Mapping[tuple[str, int], Answer]:
        answers = {}
        with connection.explained("the instances can't be asked"):
            for app in desired.plan.apps:
                release = desired.releases[app.name].id
                for container in instances.found(self.client, self.names, app.name, release=release):
                    slot = int(container.labels[SLOT])
                    socket = observing.socket_path(app.name, release, slot)
                    request = containers.probe_request(app.probe, app.protocol, socket)
                    if container.status == "running":
                        (answers[app.name, slot],) = containers.exchange(container, [request])
        return answers

    def nginx_accepts(self, desired: Desired) -> CommandResult:
        with connection.explained("nginx can't be asked"):
            definition = front.Definition.of(self.names, desired)
            return front.test(self.client, self.names, definition, "current", self.front.container())

    def nginx_files_on_disk(self) -> Mapping[str, str]:
        with connection.explained("nginx's files can't be read"):
            nginx = self.front.container()
            if nginx is None:
                return {}
            generation = volumes.link_target(self.client, nginx, f"{PREFIX}/nginx/current")
            files = volumes.read(nginx, f"{PREFIX}/nginx/{generation}") if generation else {}
        files.pop(observing.MANIFEST, None)
        return {f"nginx/{path}": digest for path, digest in observing.digests(files).items()}

    def run(self, app: str, command: Sequence[str], *, tty: bool) -> int:
        from dataclasses import replace

        from deploykit.engine import terminal

        with connection.explained(f"can't run a command in {app}"):
            release = self.observe(False).live.get(app)
            if release is None:
                raise EnvironmentLacks(f"no release of {app} serves", hint=f"deploykit up{self.stack.option}")
            image = instances.image_of(self.client, self.names, app, release)
            words = containers.one_off_command(command)
            wanted = instances.wanted(self.names, image, app, release, "one-off", words)
            container = containers.create(self.client, replace(wanted, terminal=tty, stdin=True))
            try:
                return terminal.attach(self.client, container, tty=tty)
            finally:
                containers.remove(container)

    def logs(self, names: Sequence[str], *, lines: int, follow: bool) -> Iterator[LogLine]:
        with connection.explained("the logs can't be read"):
            named = {name: its for name, its in self._by_name().items() if not names or name in names}
        return reading.follow(named, lines) if follow else iter(reading.last(named, lines))

    def log_mark(self) -> str:
        return reading.mark(self.front.container)

    def log_since(self, mark: str) -> tuple[str, ...] | None:
        return reading.since(self.front.container, mark)

    def _by_name(self) -> dict[str, list[Container]]:
        """`nginx` and each member to its containers; two while a release is being replaced."""
        seen = observing.look(self.client, self.names)
        named: dict[str, list[Container]] = {"nginx": [seen.nginx]} if seen.nginx is not None else {}
        for container in seen.instances:
            named.setdefault(f"{container.labels[APP]}-{container.labels[SLOT]}", []).append(container)
        return named

    def export(self, desired: Desired, app: str, into: Path) -> None:
        with connection.explained(f"the code of {app} can't be read"), disk.explained(f"can't write {into}"):
            exporting.export(self.client, self.names, app, desired.releases[app].id, into)

    def restart(self, app: str, slot: int) -> None:
        with connection.explained(f"can't restart {app}-{slot}"):
            live = self.observe(False).live.get(app)
            found = instances.found(self.client, self.names, app, slot)
            serving = [each for each in found if each.labels[RELEASE] == live] or found
            if not serving:
                raise EnvironmentLacks(f"{app}-{slot} does not run", hint=f"deploykit up{self.stack.option}")
            instances.restart(serving[0], app, slot)

    def hosts(self) -> Mapping[str, Any]:
        from deploykit.engine import backend

        with connection.explained("the containers can't be reached"):
            return {name: backend.host(container) for name, container in self._running_by_name().items()}

    def _running_by_name(self) -> dict[str, Container]:
        return {
            name: running[0]
            for name, its in self._by_name().items()
            if (running := [each for each in its if each.status == "running"])
        }

    def process_ids(self) -> Mapping[str, tuple[int, ...]]:
        if not connection.is_local():
            return {}
        found = {}
        with connection.explained("the processes can't be listed"):
            for name, container in self._running_by_name().items():
                main = int(container.attrs["State"]["Pid"])
                listed: Any = container.top(ps_args="-o pid")
                others = sorted(int(row[0]) for row in listed["Processes"] if int(row[0]) != main)
                found[name] = (main, *others)
        # An Engine in a virtual machine answers on a socket here, and its processes are elsewhere.
        return {name: ids for name, ids in found.items() if all(Path(f"/proc/{each}").exists() for each in ids)}

    # --- the end ---

    def down(self, *, volumes: bool) -> tuple[str, ...]:
        with connection.explained("can't remove all of the stack"):
            self.probe.close()
            everything = self.client.containers.list(all=True, filters=self.names.mine, ignore_removed=True)
            # nginx first: nothing new reaches the instances, which then finish what they have.
            for container in sorted(everything, key=lambda each: each.name != self.names.nginx):
                if container.status == "running" and container.name is not None:
                    self.tell(f"stopping {container.name}")
                    container.stop()
                containers.remove(container)
            for found in self.client.api.volumes(filters=self.names.mine).get("Volumes") or []:
                if volumes or KEEP not in (found.get("Labels") or {}):
                    self.client.api.remove_volume(found["Name"], force=True)
            for network in self.client.networks.list(filters=self.names.mine):
                network.remove()
            images.remove_all(self.client, self.names)
        disk.remove(self.stack.home / "facts.json")
        for folder in (self.stack.home / "wheels").glob("*"):
            if folder.suffix != KEPT and not folder.with_name(f"{folder.name}{KEPT}").exists():
                disk.remove(folder)
        return self.volumes_kept()

    def volumes_kept(self) -> tuple[str, ...]:
        with connection.explained("the volumes can't be listed"):
            found = self.client.api.volumes(filters=self.names.mine).get("Volumes") or []
        return tuple(sorted(each["Name"] for each in found if KEEP in (each.get("Labels") or {})))


DRIVER: type[Runtime] = DockerRuntime
