"""An Engine that is killed while `up` is at work: told as that, what served comes back, and `up` converges."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engine_faults import LONG, UP, Ended, Site
from engines import Engine, second_engine
from test_engine_faults import told_in_words

pytestmark = [pytest.mark.slow, pytest.mark.docker]

BACK_SECONDS = 120


class SecondSite(Site):
    """A site on an Engine that may be killed."""

    def __init__(self, folder: Any, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, engine.client())
        self.variables = variables(engine)
        self._monkeypatch = monkeypatch

    def run(self, *words: str, **_: object) -> Ended:
        variables = dict(self.variables)
        return self.run_at(variables.pop("DOCKER_HOST"), *words, seconds=600, **variables)

    def broken(self) -> list[str]:
        with self._monkeypatch.context() as own:
            for name, value in self.variables.items():
                own.setenv(name, value)
            return super().broken()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with second_engine() as engine:
        yield engine


@pytest.fixture
def site(engine: Engine, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[SecondSite]:
    site = SecondSite(tmp_path / "site", engine, monkeypatch)
    yield site
    site.remove()


def test_an_engine_that_is_killed_in_the_middle_is_told_and_the_next_up_converges(
    site: SecondSite, engine: Engine
) -> None:
    site.up()
    for moment in ("build", "start") if LONG else ("start",):
        site.change()
        ended = killed_at(site, engine, moment)
        assert ended.code == 5, ended
        assert told_in_words(ended) == []
        assert "no Engine answers at tcp://" in ended.err, ended
        engine.start()
        # What served comes back with the Engine, before anybody does anything.
        assert eventually(lambda: serving(site) >= {site.names.nginx}), serving(site)
        served = site.json("status")
        assert eventually(lambda: all(each["healthy"] for each in members(site))), members(site)
        assert served["nginx"]["state"] == "running"
        site.up()
        assert site.broken() == []


def variables(engine: Engine) -> dict[str, str]:
    """How deploykit reaches it. Authorities that this machine trusts otherwise are not the Engine's."""
    return {**engine.tls, "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": ""}


def killed_at(site: SecondSite, engine: Engine, moment: str) -> Ended:
    """How `up` ended whose Engine was killed when it said that it was at that step."""
    variables = dict(site.variables)
    with site.started(("up", *UP["up"]), variables.pop("DOCKER_HOST"), **variables) as running:
        assert running.stdout is not None and running.stderr is not None
        lines = []
        for line in running.stderr:
            lines.append(line)
            if line.startswith(f" {moment}") or (moment == "build" and "COPY app" in line):
                engine.kill()
                break
        lines += running.stderr.readlines()
        out = running.stdout.read()
    return Ended(running.returncode, out, "".join(lines))


def serving(site: Site) -> set[str]:
    found = site.client.containers.list(filters=site.names.mine, ignore_removed=True)
    return {str(each.name) for each in found if each.status == "running"}


def members(site: Site) -> list[dict[str, Any]]:
    return list(site.json("status")["members"])


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + BACK_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
