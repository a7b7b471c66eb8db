"""What only the docker runtime promises: how closed its containers are, whose things are whose, where secrets are."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from ports import free_port
from small import SECRET, Small, eventually

from deploykit import converge, reconcile
from deploykit.engine import base_images, base_images_reachable, engine_answers
from deploykit.errors import DeployFailed, EnvironmentLacks
from deploykit.plan import BuildRelease, PrepareBase, StageNginx
from deploykit.runtimes import Stack
from deploykit.runtimes.docker import DockerRuntime
from deploykit.wire import Request, exchange

pytestmark = [pytest.mark.slow, pytest.mark.docker]

SECRET_FORMS = (
    SECRET.encode(),
    base64.b64encode(SECRET.encode()),
    json.dumps(SECRET)[1:-1].encode(),
    SECRET.splitlines()[0].encode(),
    b"s3cret",
)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A small stack, up; nothing of it stays."""
    stack = Small("docker", tmp_path_factory.mktemp("docker") / "small")
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


@pytest.fixture(scope="module")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.from_env()
    yield client
    client.close()


def containers_of(small: Small, engine: docker.DockerClient) -> list[Any]:
    """Every container of the stack that goes on running."""
    own = {"label": f"deploykit.stack={small.session.stack.id}"}
    found = engine.containers.list(all=True, filters=own, ignore_removed=True)
    return [each for each in found if each.labels["deploykit.role"] in ("instance", "nginx")]


# --- how closed they are -----------------------------------------------------------------------------------------


def test_every_container_is_as_closed_as_it_can_be(small: Small, engine: docker.DockerClient) -> None:
    found = containers_of(small, engine)
    assert len(found) == 3
    for container in found:
        config, host = container.attrs["Config"], container.attrs["HostConfig"]
        user, group = config["User"].split(":")
        assert int(user) >= 10000 and int(group) >= 10000
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"] and not host["Privileged"]
        assert host["SecurityOpt"] == ["no-new-privileges"]
        assert host["ReadonlyRootfs"]
        assert all("noexec" in options and "nosuid" in options for options in host["Tmpfs"].values())
        assert 0 < host["PidsLimit"] < 5000
        assert host["PidMode"] == "" and host["IpcMode"] == "private" and not host["Devices"]
        assert {mount["Type"] for mount in container.attrs["Mounts"]} == {"volume"}
        assert not host["Binds"] and "docker.sock" not in json.dumps(container.attrs)
        assert host["RestartPolicy"]["Name"] == "always"
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
        assert container.attrs["Image"].startswith("sha256:")


def test_only_nginx_is_published_and_only_where_the_spec_says(small: Small, engine: docker.DockerClient) -> None:
    for container in containers_of(small, engine):
        published = [each for each in container.attrs["NetworkSettings"]["Ports"].values() if each]
        expected = [[{"HostIp": "127.0.0.1", "HostPort": str(small.port)}]]
        assert published == (expected if container.labels["deploykit.role"] == "nginx" else [])


def test_sockets_are_for_the_app_and_nginx_s_group_only(small: Small) -> None:
    hosts = small.session.runtime.hosts()
    folder = hosts["nginx"].file("/srv/deploykit/run/web")
    assert (folder.uid, folder.gid, folder.mode) == (10001, 10001, 0o750)
    assert hosts["nginx"].run("id -u; id -G").stdout.split() == ["10002", "10002", "10001"]
    for path in ("/srv/deploykit/run/web/x", "/srv/deploykit/nginx/x", "/srv/deploykit/x", "/etc/x"):
        assert hosts["nginx"].run("touch %s", path).rc != 0
    for path in ("/srv/app/code/x", "/srv/app/config/x", "/srv/app/secrets/x", "/srv/venv/x"):
        assert hosts["web-1"].run("touch %s", path).rc != 0
    assert hosts["web-1"].run("touch /srv/app/code/data/x && rm /srv/app/code/data/x").rc == 0


# --- secrets -----------------------------------------------------------------------------------------------------


def test_a_secret_is_in_one_file_that_only_the_app_can_read(small: Small) -> None:
    release = small.observed(False).live["web"]
    hosts = small.session.runtime.hosts()
    file = hosts["web-1"].file(f"/srv/app/secrets/{release}")
    assert (file.uid, file.gid, file.mode) == (10001, 10001, 0o600)
    assert SECRET.splitlines()[0] in file.content_string
    assert not hosts["nginx"].file("/srv/app/secrets").exists


def test_a_secret_is_in_no_image_inspection_argument_or_log(small: Small, engine: docker.DockerClient) -> None:
    told = "\n".join(small.told)
    for container in containers_of(small, engine):
        told += json.dumps(container.attrs) + json.dumps(container.top()) + container.logs().decode(errors="replace")
    own = {"label": f"deploykit.stack={small.session.stack.id}"}
    images = engine.images.list(filters=own)
    assert len(images) == 1
    for image in images:
        told += json.dumps(image.attrs) + json.dumps(image.history())
    for each in [*engine.volumes.list(filters=own), *engine.networks.list(filters=own)]:
        told += json.dumps(each.attrs)
    assert [form for form in SECRET_FORMS if form in told.encode()] == []
    with tempfile.TemporaryFile() as saved:
        for chunk in images[0].save():
            saved.write(chunk)
        saved.seek(0)
        _no_secret_within(saved)


def _no_secret_within(saved: Any) -> None:
    """No layer holds the secret, but for files of the base image, which were there before."""
    with tarfile.open(fileobj=saved) as archive:
        layers = [member for member in archive if member.name.endswith("layer.tar")]
        assert len(layers) > 3
        for member in layers:
            layer = archive.extractfile(member)
            assert layer is not None
            before = b""
            while chunk := layer.read(1 << 20):
                assert not [form for form in SECRET_FORMS if form in before + chunk], member.name
                before = chunk[-200:]


# --- whose is what -----------------------------------------------------------------------------------------------


def test_a_stack_of_the_same_name_from_elsewhere_is_refused(small: Small, tmp_path: Path) -> None:
    other = Small("docker", tmp_path / "other")
    other.edit("deploykit.yaml", f"name: {other.name}", f"name: {small.name}")
    before = small.observed(False)
    with pytest.raises(EnvironmentLacks) as caught:
        other.up()
    text = str(caught.value)
    assert small.name in text and str(small.folder) in text and "deploykit down" in text
    assert other.session.runtime.down(volumes=True) == ()
    assert other.observed(False).apps_known == ()
    assert small.observed(False).members == before.members or small.word() == "first"
    assert small.get().status == 200


@pytest.mark.parametrize("kind", ["network", "volume", "container"])
def test_what_somebody_else_made_is_never_adopted(kind: str, tmp_path: Path, engine: docker.DockerClient) -> None:
    stack = Small("docker", tmp_path / "small")
    desired = stack.desired()
    make = {
        "network": lambda: engine.networks.create(stack.name),
        "volume": lambda: engine.volumes.create(f"{stack.name}-web.run"),
        "container": lambda: engine.containers.create("deploykit/python:3.11", ["true"], name=f"{stack.name}-nginx"),
    }
    made = make[kind]()
    try:
        with pytest.raises(EnvironmentLacks) as caught:
            stack.session.runtime.apply(PrepareBase("a test"), desired)
        assert f"the {kind} `{stack.name}" in str(caught.value)
        assert "was not made by deploykit" in str(caught.value)
    finally:
        made.remove()
        stack.remove()
    assert left_of(stack, engine) == []


def left_of(stack: Small, engine: docker.DockerClient) -> list[str]:
    """The names of all that is there of a stack, labelled or not."""
    found = [each.name for each in engine.containers.list(all=True, ignore_removed=True)]
    found += [each.name for each in engine.volumes.list()] + [each.name for each in engine.networks.list()]
    found += [tag for image in engine.images.list(all=True) for tag in image.tags]
    own = {"label": f"deploykit.stack={Stack(stack.name, stack.folder).id}"}
    layers = [image.id for image in engine.images.list(all=True, filters=own)]
    return [name for name in found if stack.name in (name or "")] + layers


# --- what was cut off --------------------------------------------------------------------------------------------


def test_what_a_killed_up_left_is_seen_and_finished_or_removed(tmp_path: Path, engine: docker.DockerClient) -> None:
    stack = Small("docker", tmp_path / "small")
    try:
        desired = stack.desired()
        release = desired.releases["web"].id
        for step in (PrepareBase("a test"), StageNginx("a test", desired.generation)):
            stack.session.runtime.apply(step, desired)
        stack.session.runtime.apply(BuildRelease("a test", "web", release), desired)
        labels = {"deploykit.stack": stack.session.stack.id, "deploykit.role": "hands"}
        engine.containers.create("deploykit/python:3.11", ["true"], name=f"{stack.name}-hands", labels=labels)
        stack.session = stack.opened()
        observed = stack.observed()
        assert observed.incomplete == (("web", release),)
        assert observed.complete == {}
        assert observed.orphans == (f"{stack.name}-hands",)
        stack.up()
        assert stack.word() == "first"
        assert stack.steps() == ()
        assert stack.observed().orphans == ()
    finally:
        stack.remove()
    assert left_of(stack, engine) == []


# --- faults ------------------------------------------------------------------------------------------------------


def test_a_taken_port_is_told_before_nginx_is_touched(small: Small, engine: docker.DockerClient) -> None:
    before = small.observed(False).nginx
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        small.edit("deploykit.yaml", f"listen: 127.0.0.1:{small.port}", f"listen: 127.0.0.1:{port}")
        try:
            with pytest.raises(EnvironmentLacks) as caught:
                small.up()
        finally:
            small.edit("deploykit.yaml", f"listen: 127.0.0.1:{port}", f"listen: 127.0.0.1:{small.port}")
    assert "listens there" in str(caught.value) and str(port) in str(caught.value)
    after = small.observed(False).nginx
    assert (after.state, after.live, after.since) == (before.state, before.live, before.since)
    assert small.get().status == 200
    assert not any(name.endswith(".next") for name in left_of(small, engine))


def test_another_port_is_served_once_nginx_was_replaced(small: Small) -> None:
    old, small.port = small.port, free_port()
    small.edit("deploykit.yaml", f"listen: 127.0.0.1:{old}", f"listen: 127.0.0.1:{small.port}")
    assert "RunNginx" in [type(step).__name__ for step in small.up()]
    assert small.get().status == 200
    assert exchange([Request(f"127.0.0.1:{old}", "/")])[0].status == 0
    assert small.steps() == ()


def test_the_way_back_leads_to_the_port_that_was_served_before(small: Small) -> None:
    old, small.port = small.port, free_port()
    small.edit("deploykit.yaml", f"listen: 127.0.0.1:{old}", f"listen: 127.0.0.1:{small.port}")
    changes, desired, observed = small.session.changes()
    for step in changes.deploy:
        small.session.runtime.apply(step, desired)
    assert small.get().status == 200
    for step in reconcile.undo(changes.deploy, observed):
        small.session.runtime.apply(step, desired)
    small.edit("deploykit.yaml", f"listen: 127.0.0.1:{small.port}", f"listen: 127.0.0.1:{old}")
    small.port = old
    assert small.get().status == 200
    assert small.steps() == ()


def test_of_an_app_that_is_taken_out_only_its_data_stays(small: Small, engine: docker.DockerClient) -> None:
    spec = (small.folder / "deploykit.yaml").read_text()
    (small.folder / "two").mkdir()
    (small.folder / "two" / "two.py").write_text("def app(_, start):\n    start('200 OK', [])\n    return [b'two']\n")
    (small.folder / ".dockerignore").write_text("two/\n")
    small.edit(
        "deploykit.yaml", "\nsites:", "\n  two: {source: two/, entrypoint: two:app, volumes: {more: more/}}\nsites:"
    )
    small.edit("deploykit.yaml", "      /: web\n", "      /: web\n      /two/: two\n")
    small.up()
    assert small.get("/two/").body == "two"
    (small.folder / "deploykit.yaml").write_text(spec)
    small.edit("deploykit.yaml", "version: 1", "version: 1")
    small.up()
    assert small.get("/two/").status == 200 and small.word() == "first"
    assert [name for name in left_of(small, engine) if "-two" in name] == [f"{small.name}-two-more"]
    engine.volumes.get(f"{small.name}-two-more").remove()
    assert small.steps() == ()


def test_an_instance_that_was_killed_comes_back_by_itself(small: Small) -> None:
    main = small.session.runtime.process_ids()["web-2"][0]
    os.kill(main, 9)  # from the host: `docker kill` would count as a wish, and switch the restart policy off

    def back() -> bool:
        member = next(each for each in small.observed().members if each.slot == 2)
        return member.restarts == 1 and member.healthy is True

    assert eventually(back)


def test_changed_files_on_disk_are_seen_and_written_again(small: Small, engine: docker.DockerClient) -> None:
    generation = small.desired().generation
    volume = {f"{small.name}-nginx.files": {"bind": "/f", "mode": "rw"}}
    words = ["sh", "-c", f"echo '# x' >> /f/{generation}/nginx.conf"]
    engine.containers.run("deploykit/python:3.11", words, volumes=volume, remove=True, user="10001")
    assert small.observed().nginx.on_disk == ""
    assert [type(step).__name__ for step in small.up()] == ["StageNginx", "RunNginx"]
    assert small.observed().nginx.on_disk == generation


def test_an_engine_that_is_not_there_is_said_in_words(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert engine_answers() is None
    for address in (f"unix://{tmp_path}/none.sock", f"tcp://127.0.0.1:{free_port()}"):
        monkeypatch.setenv("DOCKER_HOST", address)
        for asked in (engine_answers, DockerRuntime(Stack("none", tmp_path), print).observe):
            with pytest.raises(EnvironmentLacks, match="no Engine answers at") as caught:
                asked()
            assert address in str(caught.value) and "DOCKER_HOST" in str(caught.value)


def test_a_socket_that_may_not_be_used_is_a_permission_that_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert engine_answers() is None  # and all that it needs is imported
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0)
        hear, tell = os.pipe()
        child = os.fork()
        if child == 0:
            # Root may use any socket, so somebody else has to ask.
            try:
                with contextlib.suppress(PermissionError):
                    os.setuid(65534)
                engine_answers()
            except EnvironmentLacks as error:
                os.write(tell, str(error).encode())
            finally:
                os._exit(0)  # never on as a second pytest
        os.waitpid(child, 0)
        os.close(tell)
    assert f"no permission to use the Engine at unix://{path}" in os.read(hear, 1000).decode()


# --- base images and wheels --------------------------------------------------------------------------------------


def test_base_images_that_are_there_are_enough(small: Small) -> None:
    reachable, why = base_images_reachable(small.session.spec)
    assert reachable, why


def test_a_base_image_that_can_t_be_had_says_how_to_make_one(small: Small) -> None:
    nowhere = f"127.0.0.1:{free_port()}/none:1"
    images = small.session.spec.images.model_copy(update={"python": nowhere})
    spec = small.session.spec.model_copy(update={"images": images})
    began = time.monotonic()
    reachable, why = base_images_reachable(spec)
    assert not reachable and nowhere in why and "deploykit images build" in why
    assert time.monotonic() - began < 10
    with pytest.raises(EnvironmentLacks) as caught:
        small.session.runtime.facts(spec)
    assert nowhere in str(caught.value) and "deploykit images build" in str(caught.value)


def test_base_images_that_are_there_are_not_built_again() -> None:
    told: list[str] = []
    assert base_images.build("bookworm", told.append) == ()
    assert told == ["deploykit/python:3.11 is there", "deploykit/nginx:1.22 is there"]


def test_base_images_come_from_this_machine_s_mirror_with_security_updates(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "deb [arch=amd64] http://mirror.invalid/debian bookworm main contrib # ours\n"
        "deb-src http://mirror.invalid/debian bookworm main\n"
        "deb http://mirror.invalid/debian bookworm-backports main\n"
    )
    (tmp_path / "sources.list.d" / "security.sources").write_text(
        "Types: deb\nURIs: http://mirror.invalid/debian-security\nSuites: bookworm-security\nComponents: main\n\n"
        "Types: deb\nURIs: http://elsewhere.invalid/tool\nSuites: stable\nComponents: main\n"
    )
    (tmp_path / "sources.list.d" / "broken.sources").write_bytes(b"\xff\xfe")
    assert base_images.sources("trixie", tmp_path, "bookworm") == [
        "deb http://mirror.invalid/debian trixie main contrib",
        "deb http://mirror.invalid/debian-security trixie-security main",
    ]


def test_wheels_are_fetched_once_and_a_missing_one_is_named(
    small: Small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime = small.session.runtime
    assert isinstance(runtime, DockerRuntime)
    plan = small.session.plan()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    into = runtime.fetch_wheels(plan, "web")
    assert any(each.name.startswith("gunicorn-") for each in into.glob("*.whl"))
    before = sorted(into.iterdir())
    app = dataclasses.replace(plan.app("web"), server_requirement="gunicorn>=9999")
    with pytest.raises(DeployFailed) as caught:
        runtime.fetch_wheels(dataclasses.replace(plan, apps=(app,)), "web")
    assert "gunicorn" in caught.value.failure.cause
    assert sorted(into.iterdir()) == before


# --- no request is lost ------------------------------------------------------------------------------------------


class Load:
    """A few clients that ask for one thing after the other, every tenth of them slow."""

    def __init__(self, small: Small) -> None:
        self.small = small
        self.ended = threading.Event()
        self.bad: list[str] = []
        self.words: list[str] = []
        self.threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(4)]

    def _ask(self) -> None:
        number = 0
        while not self.ended.is_set():
            number += 1
            path = "/slow" if number % 10 == 0 else "/"
            request = Request(f"127.0.0.1:{self.small.port}", path, host="localhost", timeout_seconds=10)
            (answer,) = exchange([request])
            if answer.status == 200:
                self.words.append(json.loads(answer.body)["word"])
            else:
                self.bad.append(f"{path}: {answer.status} {answer.error}")

    def __enter__(self) -> Load:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(15)


def test_a_release_switch_under_load_loses_nothing(small: Small) -> None:
    small.edit("small.py", '"first"', '"second"')
    with Load(small) as load:
        assert eventually(lambda: "first" in load.words)
        small.up()
        assert eventually(lambda: load.words[-1:] == ["second"])
    assert load.bad == []
    assert {"first", "second"} == set(load.words)
    assert len(load.words) > 100


# --- a terminal --------------------------------------------------------------------------------------------------


def test_a_one_off_has_this_terminal(small: Small) -> None:
    script = (
        "import os, sys, time; typed = input()\n"
        "for _ in range(200):\n"
        "    if os.get_terminal_size().columns == 91: break\n"
        "    time.sleep(0.05)\n"
        "print(os.get_terminal_size().columns, sys.stdin.isatty(), typed[::-1]); sys.exit(5)"
    )
    code = (
        "import sys; from pathlib import Path; from deploykit.runtimes import Stack; "
        "from deploykit.runtimes.docker import DockerRuntime; "
        f"runtime = DockerRuntime(Stack({small.name!r}, Path({str(small.folder)!r})), print); "
        f"sys.exit(runtime.run('web', ['python', '-c', {script!r}], tty=True))"
    )
    here, there = pty.openpty()
    with contextlib.closing(os.fdopen(here, "r+b", buffering=0)) as terminal:
        subprocess.run(["stty", "cols", "91", "rows", "31"], stdin=there, check=True)
        process = subprocess.Popen([sys.executable, "-c", code], stdin=there, stdout=there, stderr=there)
        os.close(there)
        terminal.write(b"olleh\n")
        said = b""
        with contextlib.suppress(OSError):  # how the end of a terminal reads
            while data := terminal.read(1024):
                said += data
        assert process.wait(30) == 5, said
    assert b"91 True hello" in said, said


def test_what_is_piped_in_reaches_a_one_off(small: Small, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from deploykit.runtimes import Stack; "
        "from deploykit.runtimes.docker import DockerRuntime; "
        f"runtime = DockerRuntime(Stack({small.name!r}, Path({str(small.folder)!r})), print); "
        "sys.exit(runtime.run('web', ['python', '-c', "
        "'import sys; data = sys.stdin.read(); print(len(data)); print(data[:3], file=sys.stderr)'], tty=False))"
    )
    done = subprocess.run([sys.executable, "-c", code], input="abc" * 100_000, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "300000\n", "abc\n")


# --- the end -----------------------------------------------------------------------------------------------------


def test_nothing_of_it_stays(small: Small, engine: docker.DockerClient) -> None:
    assert small.down() == (f"{small.name}-web-data",)
    assert left_of(small, engine) == [f"{small.name}-web-data"]
    assert small.down(volumes=True) == ()
    assert left_of(small, engine) == []
    assert shutil.which("docker") is None or small.session.runtime.volumes_kept() == ()


def test_what_docker_can_t_honour_is_refused(tmp_path: Path) -> None:
    stack = Small("docker", tmp_path / "small", socket="tcp")
    from deploykit.errors import SpecError

    with pytest.raises(SpecError) as caught:
        converge.open_stack(stack.folder / "deploykit.yaml", "docker", print).plan()
    assert "socket" in str(caught.value) and "target: process" in str(caught.value)


def test_the_base_image_of_python_has_what_frameworks_ask_for() -> None:
    asks = "import zoneinfo, sqlite3, ssl, venv, socket\nprint(zoneinfo.ZoneInfo('UTC'), socket.getservbyname('https'))"
    engine = docker.from_env()
    told = engine.containers.run("deploykit/python:3.11", ["python3", "-c", asks], remove=True, network_mode="none")
    assert told.decode().split() == ["UTC", "443"]
