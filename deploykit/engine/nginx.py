"""nginx's container and its configuration volume: stage a generation, let nginx accept it, run it, confirm it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deploykit.engine import connection, containers, listening, observing, volumes
from deploykit.engine.labels import APP_ID, NGINX_ID, NGINX_USER, PREFIX, SHAPE, Names
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure, FailureError
from deploykit.plan import Desired, RunNginx
from deploykit.runtimes import CommandResult

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

CONFIRM_SECONDS = 15.0
CONFIRM_EVERY_SECONDS = 0.1
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Debian has nginx in /usr/sbin."""
OWN = f"uid={NGINX_ID},gid={NGINX_ID},mode=0700"
TMPFS = {
    **containers.TMPFS,
    f"{PREFIX}/tmp/nginx": f"rw,nosuid,nodev,noexec,{OWN}",  # noqa: S108 -- in the container
    f"{PREFIX}/logs": f"rw,nosuid,nodev,noexec,{OWN}",
}


@dataclass(frozen=True)
class Definition:
    """How nginx's container has to be for one generation; kept beside its files, for the way back."""

    image: str
    host: str
    port: int
    listen: str
    """The port in the container."""
    mounts: tuple[tuple[str, str], ...]
    """(volume, path), all read-only."""
    shape: str
    stop_seconds: int

    @classmethod
    def of(cls, names: Names, desired: Desired) -> Definition:
        """What the plan asks for."""
        plan = desired.plan
        mounts = [(names.nginx_files, f"{PREFIX}/nginx")]
        for app in plan.apps:
            mounts.append((names.sockets(app.name), f"{PREFIX}/run/{app.name}"))
            mounts.append((names.served(app.name), f"{PREFIX}/releases/{app.name}"))
            mounts += [(names.volume(app.name, each), f"{PREFIX}/volumes/{app.name}/{each}") for each in app.volumes]
        return cls(
            image=plan.facts.images["nginx"],
            host=plan.listen_host,
            port=plan.listen_port,
            listen=plan.layout.listen.rpartition(":")[2],
            mounts=tuple(mounts),
            shape=plan.nginx_shape,
            # Requests in flight may take as long as the apps give them.
            stop_seconds=round(max(app.stop_grace_seconds for app in plan.apps)) + 5,
        )

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Definition:
        return cls(**{**data, "mounts": tuple((volume, path) for volume, path in data["mounts"])})

    def wanted(self, names: Names, role: str, name: str | None, command: list[str]) -> containers.Wanted:
        """A container like this one; nothing is published unless it is nginx itself."""
        serves = role == "nginx"
        return containers.Wanted(
            self.image,
            command,
            names.labels(role) | ({SHAPE: self.shape} if serves else {}),
            name=name,
            mounts=[volumes.mount(names, volume, path, read_only=True) for volume, path in self.mounts],
            network=names.network if serves else "none",
            user=NGINX_USER,
            # The sockets are for their owner and group.
            groups=[str(APP_ID)],
            working_dir=PREFIX,
            environment={**containers.ENVIRONMENT, "PATH": PATH},
            tmpfs=TMPFS,
            ports={int(self.listen): (self.host, self.port)} if serves else {},
            restart=serves,
            stop_signal="SIGQUIT",
            stop_seconds=self.stop_seconds,
        )


def command(generation: str, *more: str) -> list[str]:
    """How nginx is started or asked with the files of a generation, or of `current`."""
    # Before it has read its configuration it would write to a log file of the image's.
    return ["nginx", "-e", "stderr", "-p", PREFIX, "-c", f"nginx/{generation}/nginx.conf", *more]


def stage(client: DockerClient, names: Names, desired: Desired, live: Container | None) -> CommandResult:
    """The generation's files are beside those of the live one, and what nginx says to them; gone where it refuses.

    The folder of the live generation stays in any case.
    """
    definition = Definition.of(names, desired)
    files = {file.path.removeprefix("nginx/"): file.text.encode() for file in desired.nginx_files()}
    _write(client, names, desired, files, definition)
    result = test(client, names, definition, desired.generation, live)
    current = volumes.link_target(client, live, f"{PREFIX}/nginx/current") if live is not None else ""
    if result.exit_code != 0 and current != desired.generation:
        _change(client, names, desired, remove=[f"{PREFIX}/nginx/{desired.generation}"])
    return result


def _write(
    client: DockerClient, names: Names, desired: Desired, files: dict[str, bytes], definition: Definition
) -> None:
    manifest = {"files": observing.digests(files), "container": asdict(definition)}
    top = f"nginx/{desired.generation}"
    folders = sorted({path.rpartition("/")[0] for path in files if "/" in path})
    entries = [volumes.Entry("nginx", mode=0o755), volumes.Entry(top, mode=0o755)]
    entries += [volumes.Entry(f"{top}/{folder}", mode=0o755) for folder in folders]
    entries += [volumes.Entry(f"{top}/{path}", content) for path, content in sorted(files.items())]
    entries.append(volumes.Entry(f"{top}/{observing.MANIFEST}", json.dumps(manifest, indent=1).encode()))
    mounts = [volumes.mount(names, names.nginx_files, f"{PREFIX}/nginx")]
    with volumes.opened(client, names, definition.image, mounts) as container:
        volumes.put(container, PREFIX, entries)


def test(
    client: DockerClient, names: Names, definition: Definition, generation: str, live: Container | None
) -> CommandResult:
    """`nginx -t`, in the nginx that runs where it is made the same way, else in a container like the one to come."""
    words = command(generation, "-t", "-q")
    if live is not None and live.status == "running" and live.labels.get(SHAPE) == definition.shape:
        return containers.execute(live, words)
    return containers.run_once(client, definition.wanted(names, "question", None, words))


def _change(client: DockerClient, names: Names, desired: Desired, **what: Any) -> None:
    image = desired.plan.facts.images[desired.plan.apps[0].name]
    volumes.change(client, names, image, [volumes.mount(names, names.nginx_files, f"{PREFIX}/nginx")], **what)


class Front:
    """nginx's container of one stack, as it is started, reloaded and replaced."""

    def __init__(self, client: DockerClient, names: Names, told_generation: Callable[[Container], str]) -> None:
        self.client = client
        self.names = names
        self.told_generation = told_generation
        """Asks a running nginx; empty where it tells none."""

    def container(self) -> Container | None:
        """nginx's container, whatever its state.

        Raises:
            EnvironmentLacks: another stack has one of this name.
        """
        import docker

        try:
            found = self.client.containers.get(self.names.nginx)
        except docker.errors.NotFound:
            return None
        self.names.refuse_foreign("container", self.names.nginx, found.labels)
        return found

    def run(self, step: RunNginx, desired: Desired) -> str:
        """nginx runs that generation, as it says itself; else what ran before runs again.

        Raises:
            EnvironmentLacks: the port is taken; nothing was changed.
            DeployFailed: nginx does not come up with it, or goes on with the old one.
        """
        live = self.container()
        definition = self._definition(step.generation, desired, live)
        running = live is not None and live.status == "running"
        if running and live is not None and live.labels.get(SHAPE) == definition.shape:
            return self._reload(live, step, desired)
        return self._replace(live, step, desired, definition)

    def _definition(self, generation: str, desired: Desired, live: Container | None) -> Definition:
        """As it was staged: on the way back that is not what the spec says now."""
        folder = f"{PREFIX}/nginx/{generation}"
        if live is not None:
            files = volumes.read(live, folder)
        elif generation == desired.generation:
            return Definition.of(self.names, desired)
        else:
            mounts = [volumes.mount(self.names, self.names.nginx_files, f"{PREFIX}/nginx", read_only=True)]
            with volumes.opened(self.client, self.names, desired.plan.facts.images["nginx"], mounts) as container:
                files = volumes.read(container, folder)
        try:
            return Definition.from_json(json.loads(files[observing.MANIFEST])["container"])
        except (KeyError, ValueError, TypeError) as error:
            raise DeployFailed(f"the configuration {generation} is not there any more") from error

    def _point(self, generation: str, desired: Desired, keep: str = "") -> None:
        """`current` names that generation; with `keep`, only these two stay."""
        only = [(f"{PREFIX}/nginx", ("current", generation, keep, f"{desired.generation}"))] if keep else []
        _change(self.client, self.names, desired, links=[(f"{PREFIX}/nginx/current", generation)], only=only)

    def _reload(self, live: Container, step: RunNginx, desired: Desired) -> str:
        before = volumes.link_target(self.client, live, f"{PREFIX}/nginx/current")
        began = time.time()
        self._point(step.generation, desired, keep=before)
        old = _workers(live)
        live.kill(signal="HUP")
        if self._confirmed(step.generation, live):
            self._await_left(live, old)
            return f"runs generation {step.generation}"
        said = _errors(live, began)
        if before and before != step.generation:
            self._point(before, desired)
            live.kill(signal="HUP")
            self._confirmed(before, live)
        raise DeployFailed(
            Failure(
                f"nginx does not run the configuration {step.generation}",
                tried=("HUP", f"asked it for {CONFIRM_SECONDS:g} s"),
                log_name=self.names.nginx,
                log_lines=said,
            )
        )

    def _replace(self, live: Container | None, step: RunNginx, desired: Desired, definition: Definition) -> str:
        """One container after the other; side by side where the new one listens elsewhere."""
        before = volumes.link_target(self.client, live, f"{PREFIX}/nginx/current") if live is not None else ""
        self._point(step.generation, desired, keep=before)
        self._remove(self._spare)
        new = containers.create(self.client, definition.wanted(self.names, "nginx", self._spare, command("current")))
        stopped = False
        try:
            if live is not None and live.status == "running" and listens_on(live, definition.port):
                live.stop(timeout=definition.stop_seconds)
                stopped = True
            self._listen(new, definition)
            if not self._confirmed(step.generation, new):
                raise self._silent(new, step.generation)
        except (FailureError, KeyboardInterrupt):
            containers.remove(new)
            if before:
                self._point(before, desired)
            if stopped and live is not None:
                live.start()
            raise
        if live is not None:
            live.stop(timeout=definition.stop_seconds)
            containers.remove(live)
        new.rename(self.names.nginx)
        return f"runs generation {step.generation}"

    def _listen(self, new: Container, definition: Definition) -> None:
        try:
            with connection.explained(f"nginx can't listen on {definition.host}:{definition.port}"):
                new.start()
        except EnvironmentLacks as lacking:
            if "port is taken" in lacking.failure.what:
                raise listening.taken(self.client, definition.host, definition.port) from lacking
            raise

    def _silent(self, new: Container, generation: str) -> DeployFailed:
        return DeployFailed(
            Failure(
                f"nginx does not come up with the configuration {generation}",
                tried=(f"asked it for {CONFIRM_SECONDS:g} s",),
                log_name=str(new.name),
                log_lines=containers.last_lines(new),
            )
        )

    def adopted(self, name: str) -> bool:
        """Whether that container took nginx's place: it serves, and what it was made to replace is gone already."""
        import docker

        if name != self._spare or self.container() is not None:
            return False
        try:
            spare = self.client.containers.get(name)
        except docker.errors.NotFound:
            return False
        self.names.refuse_foreign("container", name, spare.labels)
        if spare.status == "running":
            spare.rename(self.names.nginx)
        return spare.status == "running"

    @property
    def _spare(self) -> str:
        return f"{self.names.nginx}.next"

    def _remove(self, name: str) -> None:
        import docker

        try:
            found = self.client.containers.get(name)
        except docker.errors.NotFound:
            return
        self.names.refuse_foreign("container", name, found.labels)
        containers.remove(found)

    def _await_left(self, container: Container, old: frozenset[str]) -> None:
        """A new worker has answered; until an old one has heard of it, it may still take the next request."""
        deadline = time.monotonic() + CONFIRM_SECONDS
        while old & _workers(container) and time.monotonic() < deadline:
            time.sleep(CONFIRM_EVERY_SECONDS)

    def _confirmed(self, generation: str, container: Container) -> bool:
        """Whether the running nginx tells that generation, asked until it does; a signal alone says nothing."""
        deadline = time.monotonic() + CONFIRM_SECONDS
        while True:
            container.reload()
            if container.status != "running" or container.attrs["RestartCount"]:
                return False
            if self.told_generation(container) == generation:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(CONFIRM_EVERY_SECONDS)


def _workers(container: Container) -> frozenset[str]:
    """Process ids of the workers that still listen; nginx writes into a worker's title that it is shutting down."""
    rows = container.top(ps_args="-eo pid,args").get("Processes") or []
    return frozenset(pid for pid, title in rows if "worker process" in title and "shutting down" not in title)


def listens_on(live: Container, port: int) -> bool:
    """Whether nginx's container is published at that port of the Engine's machine."""
    bindings = live.attrs["HostConfig"].get("PortBindings") or {}
    return any(binding.get("HostPort") == str(port) for published in bindings.values() for binding in published or ())


def _errors(container: Container, since: float) -> tuple[str, ...]:
    lines = container.logs(since=int(since), tail=50).decode(errors="replace").splitlines()
    return tuple(line for line in lines if "[emerg]" in line or "[error]" in line or "[alert]" in line)[-10:]
