"""Somebody's hand on the Engine: what was stopped or removed is told and mended, and what is not ours is left alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest
from engine_faults import LONG, UP, Site, made

from deploykit.engine.labels import ROLE

pytestmark = [pytest.mark.slow, pytest.mark.docker]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two instances, two releases, the newer one live."""
    with made(tmp_path_factory.mktemp("by-hand") / "site", instances=2) as site:
        site.up()
        site.change()
        site.up()
        yield site


def test_a_member_that_was_stopped_is_told_and_started_by_the_next_up(site: Site) -> None:
    name = site.names.instance("web", 2, site.live())
    site.client.containers.get(name).stop()
    states = {member["slot"]: member["state"] for member in site.json("status")["members"]}
    assert states == {1: "running", 2: "stopped"}
    with site.load() as load:
        site.up()
    assert load.result.failures == [], load.result
    assert site.broken() == []


@pytest.mark.parametrize("roles", [["instance"], ["nginx"], ["instance", "nginx"]] if LONG else [["instance", "nginx"]])
def test_containers_that_were_removed_are_there_again_after_the_next_up(site: Site, roles: list[str]) -> None:
    for role in roles:
        site.client.containers.list(filters={"label": [site.names.mine["label"], f"{ROLE}={role}"]})[0].remove(
            force=True
        )
    site.up()
    assert site.told() == site.note
    assert site.broken() == []


@pytest.mark.parametrize("which", ["run", "releases", "secrets"] if LONG else ["run"])
def test_a_volume_that_was_removed_is_there_again_after_the_next_up(site: Site, which: str) -> None:
    for container in site.client.containers.list(all=True, filters=site.names.mine):
        container.remove(force=True)
    site.client.volumes.get(f"{site.name}-web.{which}").remove()
    site.up()
    assert site.told() == site.note
    assert site.broken() == []


def test_a_release_whose_image_was_removed_is_no_release_to_go_back_to(site: Site) -> None:
    if not site.older():
        site.change()
        site.up()
    older, live = site.older(), site.live()
    site.client.images.remove(site.names.image("web", older), force=True)
    before = containers(site)
    with site.load() as load:
        ended = site.run("rollback", older)
    assert ended.code == 5, ended
    assert older in ended.err and "is not there any more" in ended.err, ended
    assert (load.result.failures, load.result.stale_close) == ([], 0), load.result
    assert (containers(site), site.live()) == (before, live)
    site.up()
    assert site.broken() == []


def test_a_release_whose_image_was_removed_serves_until_the_next_one_does(site: Site) -> None:
    site.client.images.remove(site.names.image("web", site.live()), force=True)
    site.change()
    with site.load() as load:
        site.up()
    assert load.result.failures == [], load.result
    assert site.told() == site.note
    assert site.broken() == []


def containers(site: Site) -> dict[str, str]:
    found = site.client.containers.list(all=True, filters=site.names.mine, ignore_removed=True)
    return {str(each.name): each.attrs["State"]["StartedAt"] for each in found}


# --- what is not ours ----------------------------------------------------------------------------------------------

FOREIGN: dict[str, Callable[[Site, Any, str], tuple[str, Any]]] = {
    "container": lambda site, engine, release: _container(engine, site.names.instance("web", 1, release)),
    "spare nginx": lambda site, engine, release: _container(engine, f"{site.names.nginx}.next"),
    "volume": lambda site, engine, release: _volume(engine, site.names.code("web", release)),
    "network": lambda site, engine, release: _network(engine, site.names.network),
}
"""What it is called to how something of a name that deploykit needs is made by somebody else."""


def _container(engine: Any, name: str) -> tuple[str, Any]:
    return name, engine.containers.create("deploykit/python:3.11", ["true"], name=name)


def _volume(engine: Any, name: str) -> tuple[str, Any]:
    return name, engine.volumes.create(name)


def _network(engine: Any, name: str) -> tuple[str, Any]:
    return name, engine.networks.create(name)


def test_what_somebody_else_made_under_our_name_is_named_and_neither_adopted_nor_removed(site: Site) -> None:
    site.change()
    for kind in ("volume", "container"):
        with site.load() as load:
            refused(site, kind)
        assert load.result.failures == [], load.result
    site.done("down")
    for kind in ("network", "spare nginx"):
        refused(site, kind)
    site.up()
    assert site.broken() == []


def refused(site: Site, kind: str) -> None:
    """Such a thing of somebody else's is in the way of `up` and `down`, and there afterwards."""
    name, made = FOREIGN[kind](site, site.client, site.wanted_release())
    try:
        ended = site.run("up", *UP["up"])
        assert ended.code == 5, ended
        assert f"`{name}` was not made by deploykit" in ended.err, ended
        if not site.is_up:
            site.done("down")
        made.reload()
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            made.remove()
