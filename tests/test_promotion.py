"""An image is built once, pushed, and promoted: to the main Engine and to another one, which has no checkout."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from engines import Engine, second_engine
from ports import free_port
from registries import PASSWORD, Registry, registry_for, without_login
from stacks import Example

pytestmark = [pytest.mark.slow, pytest.mark.docker]

ENVIRONMENTS = """
environments:
  staging:
    apps: {web: {environment: {RELEASE_NOTE: staging}}}
    sites: {guestbook: {server_name: staging.test}}
  production:
    apps: {web: {environment: {RELEASE_NOTE: production}}}
    sites: {guestbook: {server_name: shop.test}}
    listen: 0.0.0.0:%d
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Another machine's Engine, with no image at all."""
    with second_engine(images=()) as started:
        yield started


@pytest.fixture(scope="module")
def registry(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with registry_for(engine, tmp_path_factory.mktemp("registry") / "files") as started:
        started.put("deploykit/python:3.11", "python:3.11")
        started.put("deploykit/nginx:1.22", "nginx:1.22")
        yield started


@pytest.fixture(scope="module")
def port() -> int:
    """nginx's, where production runs."""
    return free_port()


@pytest.fixture(scope="module")
def stack(registry: Registry, port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    """The Flask example with its base images and those of its builds in the registry."""
    folder = tmp_path_factory.mktemp("promotion")
    example = Example("flask", "docker", folder / "flask")
    # Nothing here is about how fast an app starts, and two Engines are at work.
    example.edit("deploykit.yaml", "healthcheck: /healthz ", "healthcheck: {path: /healthz, start_period: 3m} ")
    example.patience_seconds = 900
    at = registry.address
    example.edit("deploykit.yaml", "'deploykit/python:3.11'", f"'{at}/python:3.11'")
    example.edit("deploykit.yaml", "nginx: 'deploykit/nginx:1.22'", f"nginx: '{at}/nginx:1.22', registry: '{at}/team'")
    spec = example.folder / "deploykit.yaml"
    spec.write_text(spec.read_text() + ENVIRONMENTS % port)
    example.variables = registry.login(folder / "login")
    try:
        yield example
    finally:
        subprocess_down(example, "staging")
        example.remove()


def subprocess_down(example: Example, environment: str) -> None:
    example.run("down", "-e", environment, "--volumes", "--yes")


@pytest.fixture(scope="module")
def built(stack: Example) -> dict[str, Any]:
    """What `deploykit build --push` said."""
    said = stack.run("build", "--push", "--json")
    assert PASSWORD not in said.stdout + said.stderr
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


@pytest.fixture(scope="module")
def elsewhere(
    engine: Engine, stack: Example, built: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Example]:
    """Somebody who has the spec and no checkout, and for whom docker is the other machine's Engine."""
    folder = tmp_path_factory.mktemp("elsewhere") / "flask"
    example = Example("flask", "docker", folder)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copy(stack.folder / "deploykit.yaml", folder)
    example.name, example.patience_seconds = stack.name, stack.patience_seconds
    example.variables = stack.variables | engine.tls
    try:
        yield example
    finally:
        subprocess_down(example, "production")


def note(url: str, host: str) -> str:
    request = urllib.request.Request(f"{url}/whoami", headers={"Host": host})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["release_note"])


def live(stack: Example, environment: str) -> dict[str, Any]:
    (one,) = [each for each in stack.json("releases", "-e", environment)["releases"] if each["live"]]
    return dict(one)


def layers(client: docker.DockerClient, name: str) -> list[str]:
    return list(client.images.get(name).attrs["RootFS"]["Layers"])


def test_one_build_serves_in_staging_and_on_another_machine_with_each_ones_settings(
    stack: Example, elsewhere: Example, engine: Engine, built: dict[str, Any], port: int
) -> None:
    build = built["release"]
    assert built["pushed"]
    image = built["images"]["web"]["image"]
    assert "/team/" in image and "@sha256:" in image
    assert stack.alive() == {}

    stack.run("up", "-e", "staging", "--yes", "--release", build)
    ended = elsewhere.run("up", "-e", "production", "--yes", "--release", build)
    # Chosen, because the base images can be pulled; and nothing was built of a checkout or fetched for it.
    assert "target docker" in ended.stderr and "the base images can be pulled" in ended.stderr
    assert "wheels" not in ended.stderr

    assert note(stack.url, f"staging.test:{stack.port}") == "staging"
    assert note(f"http://{engine.address}:{port}", f"shop.test:{port}") == "production"

    origins = [live(stack, "staging")["origin"], live(elsewhere, "production")["origin"]]
    assert [each["build"] for each in origins] == [image, image]
    here, there = docker.from_env(), engine.client()
    own = layers(there, image)
    assert layers(here, image) == own
    for client, name in ((here, f"{stack.name}.staging-web"), (there, f"{stack.name}.production-web")):
        (tag,) = [tag for each in client.images.list() for tag in each.tags if tag.startswith(name)]
        # What it adds is this environment's settings, and nothing else.
        assert layers(client, tag)[: len(own)] == own
        assert len(layers(client, tag)) == len(own) + 1
        client.close()


def test_what_was_promoted_is_there_and_is_measured_without_a_checkout(
    elsewhere: Example, built: dict[str, Any]
) -> None:
    again = elsewhere.json("up", "-e", "production", "--yes", "--release", built["release"])
    assert not again["changed"]
    assert "0 broken" in elsewhere.run("test", "-e", "production").stdout


def test_a_build_of_the_same_is_the_same_and_is_not_made_again(stack: Example, built: dict[str, Any]) -> None:
    again = stack.json("build", "-e", "staging")
    assert again["release"] == built["release"]
    assert not again["images"]["web"]["made"]


def test_an_app_server_that_the_build_lacks_is_told(elsewhere: Example, built: dict[str, Any]) -> None:
    elsewhere.edit("deploykit.yaml", "app_server: gunicorn ", "app_server: uwsgi ")
    try:
        said = elsewhere.run("up", "-e", "production", "--yes", "--release", built["release"], expect=2).stderr
    finally:
        elsewhere.edit("deploykit.yaml", "app_server: uwsgi ", "app_server: gunicorn ")
    assert "apps.web.app_server: `uwsgi` is not in the build" in said
    assert "deploykit.yaml:" in said


def test_an_app_that_the_build_lacks_is_told(elsewhere: Example, built: dict[str, Any]) -> None:
    elsewhere.edit("deploykit.yaml", "\nsites:\n", "  other: {entrypoint: 'other:app'}\n\nsites:\n")
    try:
        said = elsewhere.run("up", "-e", "production", "--yes", "--release", built["release"], expect=5).stderr
    finally:
        elsewhere.edit("deploykit.yaml", "  other: {entrypoint: 'other:app'}\n\nsites:\n", "\nsites:\n")
    assert f"{elsewhere.name}-other:{built['release']} can't be pulled" in said
    assert "the registry has no such image" in said


def test_the_process_target_says_that_it_has_no_images(stack: Example, tmp_path: Path) -> None:
    said = stack.run("up", "--target", "process", "--release", "0123456789", expect=2).stderr
    assert "the target process makes each release where it runs" in said
    stack.edit("deploykit.yaml", "\nname:", "\ntarget: process\nname:")
    try:
        said = stack.run("build", expect=2).stderr
    finally:
        stack.edit("deploykit.yaml", "\ntarget: process\nname:", "\nname:")
    assert "there is no image to build" in said


def refused(stack: Example, variables: dict[str, str], *words: str) -> str:
    before, stack.variables = stack.variables, stack.variables | variables
    try:
        said = stack.run(*words, expect=5)
    finally:
        stack.variables = before
    assert PASSWORD not in said.stderr
    return said.stderr


def test_a_registry_that_lets_nobody_in_is_told(
    stack: Example, elsewhere: Example, registry: Registry, built: dict[str, Any], tmp_path: Path
) -> None:
    for variables in (registry.login(tmp_path / "wrong", "guessed"), without_login(tmp_path / "none")):
        said = refused(stack, variables, "build", "--push")
        assert "the registry does not let this user in" in said
        assert f"docker login {registry.address}" in said
        said = refused(elsewhere, variables, "up", "-e", "production", "--yes", "--release", "0123456789")
        assert "the registry does not let this user in" in said


def test_a_build_that_the_registry_lacks_is_told(elsewhere: Example, built: dict[str, Any]) -> None:
    said = refused(elsewhere, {}, "up", "-e", "production", "--yes", "--release", "0123456789")
    assert "the registry has no such image" in said


def test_a_registry_that_is_down_is_told(
    stack: Example, elsewhere: Example, registry: Registry, built: dict[str, Any]
) -> None:
    registry.stop()
    try:
        assert "the registry can't be reached" in refused(stack, {}, "build", "--push")
        said = refused(elsewhere, {}, "up", "-e", "production", "--yes", "--release", "0123456789")
        assert "the registry can't be reached" in said
    finally:
        registry.start()
