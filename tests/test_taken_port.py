"""A port that somebody else has is told before anything is built, with who that is; what served goes on."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from stacks import Example

pytestmark = [pytest.mark.slow, pytest.mark.docker]


@contextlib.contextmanager
def listening(port: int) -> Iterator[None]:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        yield


@pytest.mark.parametrize("target", ["process", "docker"])
def test_a_taken_port_is_told_with_who_has_it_before_anything_is_built(tmp_path: Path, target: str) -> None:
    example = Example("flask", target, tmp_path / "flask")
    try:
        with listening(example.port):
            said = example.run("up", "--target", target, expect=5).stderr
            assert f"127.0.0.1:{example.port}" in said
            assert f"(process {os.getpid()}) listens there" in said
            assert " build" not in said
        built = {"images", "container", "process", "volumes"}
        assert not {each for each in example.left() if each.split()[0] in built}
    finally:
        example.remove()


def test_a_port_that_is_taken_between_the_look_and_the_use_leaves_the_old_one_serving(tmp_path: Path) -> None:
    example = Example("flask", "process", tmp_path / "flask")
    try:
        example.up()
        port = free_port()
        running = example.home / "nginx" / "running.json"
        before = running.read_bytes()
        with listening(port):
            example.edit("deploykit.yaml", f"listen: 127.0.0.1:{example.port} #", f"listen: 127.0.0.1:{port} #")
            said = example.run("up", expect=5).stderr
            assert f"127.0.0.1:{port}" in said
            assert " build" not in said
            # With this record the look is passed over, as where it had come a moment too early.
            running.write_text(json.dumps({**json.loads(before), "port": port}))
            said = example.run("up", expect=5).stderr
            assert f"127.0.0.1:{port}" in said
            assert f"(process {os.getpid()}) listens there" in said
            assert example.browser.get("/").status == 200
        running.write_bytes(before)
        example.edit("deploykit.yaml", f"listen: 127.0.0.1:{port} #", f"listen: 127.0.0.1:{example.port} #")
        example.up()
        assert example.up()["changed"] is False
        assert example.browser.get("/").status == 200
    finally:
        example.remove()
