"""The part of the invariants that is of the docker target: what carries the stack's id on this machine's Engine."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import docker
from stacks import DOCKER_TREE, Example

from deploykit.runtimes import Stack

LABEL = "deploykit.stack"
MEASURING = "probe"
"""Role of the container that requests are sent from while promises are measured."""
HARMLESS = ("exec_create", "exec_start", "exec_die", "archive-path", "health_status", "top", "resize", "attach")
"""What the Engine calls events and changes nothing of a stack."""


@cache
def engine() -> Any:
    return docker.from_env()


def _mine(stack: Stack) -> dict[str, str]:
    return {"label": f"{LABEL}={stack.id}"}


def _containers(stack: Stack) -> list[Any]:
    return list(engine().containers.list(all=True, filters=_mine(stack), ignore_removed=True))


def _front(stack: Stack) -> Any:
    return engine().containers.get(f"{stack.full_name}-nginx")


def wrong(
    example: Example, stack: Stack, wanted: Mapping[str, int], live: Mapping[str, str], known: set[tuple[str, str]]
) -> Iterator[str]:
    """What is there and should not be, or is not there and should."""
    name = stack.full_name
    containers = {each.name: each.status for each in _containers(stack)}
    expected = {f"{name}-{app}-{slot}-{live[app]}" for app, count in wanted.items() for slot in range(1, count + 1)}
    yield from _differs("containers", set(containers), expected | {f"{name}-nginx"})
    yield from (f"container {each} is {state}" for each, state in containers.items() if state != "running")
    networks = {each["Name"] for each in engine().api.networks(filters=_mine(stack))}
    yield from _differs("networks", networks, {name})
    volumes = {each["Name"]: each.get("Labels") or {} for each in _volumes(stack)}
    expected = {f"{name}-nginx.files"}
    expected |= {f"{name}-{app}.{kind}" for app in wanted for kind in ("run", "releases", "secrets")}
    expected |= {each for each, labels in volumes.items() if "deploykit.keep" in labels}
    # The code of a release is in a volume where its commands may change it.
    expected |= {f"{name}-{app}.{id}" for app, id in known} & set(volumes)
    yield from _differs("volumes", set(volumes), expected)
    tags = {tag for each in engine().images.list(filters=_mine(stack)) for tag in each.tags}
    yield from _differs("images", tags, {f"{name}-{app}:{id}" for app, id in known})
    places = f"{DOCKER_TREE}/run {DOCKER_TREE}/nginx {DOCKER_TREE}/releases".split()
    found = _front(stack).exec_run(["find", *places, "-maxdepth", "2", "-name", "*.part"]).output.decode()
    yield from (f"a temporary file in nginx's volumes: {line}" for line in found.splitlines() if ".part" in line)


def _volumes(stack: Stack) -> list[Any]:
    return list(engine().api.volumes(filters=_mine(stack)).get("Volumes") or [])


def _differs(kind: str, there: set[str], expected: set[str]) -> Iterator[str]:
    if there != expected:
        yield f"{kind}: {sorted(there - expected)} too many, {sorted(expected - there)} missing"


def left(example: Example, stack: Stack) -> Iterator[str]:
    """What is there of a stack that was taken down; volumes of the spec stay."""
    yield from (f"container {each.name} is still there" for each in _containers(stack))
    yield from (f"network {each['Name']} is still there" for each in engine().api.networks(filters=_mine(stack)))
    for each in _volumes(stack):
        if "deploykit.keep" not in (each.get("Labels") or {}):
            yield f"volume {each['Name']} is still there"
    for each in engine().images.list(filters=_mine(stack)):
        yield f"image {each.tags or each.id} is still there"


def not_bootable(example: Example, stack: Stack) -> Iterator[str]:
    """Why nginx refuses the files in its container."""
    words = ["nginx", "-t", "-e", "stderr", "-p", DOCKER_TREE, "-c", "nginx/current/nginx.conf"]
    code, output = _front(stack).exec_run(words, workdir=DOCKER_TREE)
    if code != 0:
        yield f"nginx -t: {output.decode(errors='replace')}"


def generations(example: Example, stack: Stack) -> tuple[str, dict[str, Any], dict[str, str], str]:
    """What `current` names, its record, the digests of its files, and what the live nginx tells."""
    front = _front(stack)
    current = front.exec_run(["readlink", f"{DOCKER_TREE}/nginx/current"]).output.decode().strip()
    stream, _ = front.get_archive(f"{DOCKER_TREE}/nginx/{current}")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name.partition("/")[2]] = content.read()
    manifest = json.loads(files.pop("manifest.json"))
    # nginx tells it to its own loopback only, and its image has no client: deploykit's own way of asking.
    live = example.json("status")["nginx"]["live"]
    return current, manifest, {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}, live


def logs(stack: Stack, since: float) -> dict[str, str]:
    """What each container of the stack wrote since then."""
    found = {}
    for each in _containers(stack):
        found[f"container {each.name}"] = each.logs(since=int(since)).decode(errors="replace")
    return found


def changing_events(stack: Stack, since: float) -> Iterator[str]:
    """What the Engine did to this stack since then, but for measuring it."""
    until = time.time() + 1
    for event in engine().events(since=f"{since:.3f}", until=f"{until:.3f}", decode=True, filters=_mine(stack)):
        told = event["Actor"]["Attributes"]
        action = event["Action"].partition(":")[0]
        if action not in HARMLESS and told.get("deploykit.role") != MEASURING:
            yield f"the Engine did {event['Type']} {event['Action']} to {told.get('name')}"


def telling(stack: Stack, canary: bytes) -> Iterator[str]:
    """Where the Engine tells the canary to whoever may ask it."""
    for each in _containers(stack):
        if canary in json.dumps(each.attrs, ensure_ascii=False).encode():
            yield f"what the Engine tells of the container {each.name}"
    for each in engine().images.list(filters=_mine(stack)):
        told = json.dumps([each.attrs, each.history()], ensure_ascii=False).encode()
        if canary in told:
            yield f"what the Engine tells of the image {each.tags}"
