"""The lock file gives back exactly what was written into it, or it is refused with its line."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from deploykit import converge, lockfile, planner, render
from deploykit.errors import SpecError
from deploykit.lockfile import Locked
from deploykit.plan import Facts, NginxBuild
from deploykit.spec.model import Spec

SPEC = """\
version: 1
name: shop
apps:
  web: {entrypoint: "shop.wsgi:application"}
  api: {entrypoint: "api:app", app_server: {socket: tcp}, instances: 2}
sites: {shop: {locations: {/: web, /api/: api}}}
"""
FAIR = "/usr/lib/nginx/modules/ngx_http_upstream_fair_module.so"
FACTS = Facts(
    nginx=NginxBuild((1, 26, 3), frozenset({"http_gzip_static", "http_v2", "threads", "pcre-jit"}), loadable=(FAIR,)),
    pythons={"web": "3.11.2", "api": "3.12.10"},
    cpus=3,
    memory_bytes=7837 << 20,
    user="deploykit",
    ports={"api": (8180, 8181)},
)
DOCKER = replace(
    FACTS,
    ports={},
    images={"nginx": f"nginx@sha256:{'a' * 64}", "web": "registry.test:5000/python:3.11-slim", "api": "python:3.12"},
)
BOTH = {"local": Locked("process", FACTS), "production": Locked("docker", DOCKER)}


@pytest.fixture
def spec_path(tmp_path: Path) -> Path:
    path = tmp_path / "deploykit.yaml"
    path.write_text(SPEC)
    return path


def loaded(path: Path) -> Spec:
    return converge.read_spec(path)[0]


def put(spec_path: Path, text: str) -> None:
    lockfile.beside(spec_path).write_text(text)


def refused(spec_path: Path, text: str) -> str:
    """What is said of that text; it has to have a line of the lock file."""
    put(spec_path, text)
    with pytest.raises(SpecError) as caught:
        lockfile.read_beside(spec_path, "shop")
    for problem in caught.value.problems:
        assert problem.place is not None
        assert problem.place.file.endswith("deploykit.lock")
        assert problem.place.line
        assert problem.hint
    return str(caught.value)


# --- written and read ---------------------------------------------------------------------------------------------


def test_what_is_written_is_read_again_with_its_line(spec_path: Path) -> None:
    assert lockfile.read_beside(spec_path, "shop") is None
    put(spec_path, lockfile.text("shop", BOTH))
    found = lockfile.read_beside(spec_path, "shop")
    assert found is not None
    assert {name: (each.target, each.facts) for name, each in found.environments.items()} == {
        "local": ("process", FACTS),
        "production": ("docker", DOCKER),
    }
    lines = lockfile.text("shop", BOTH).splitlines()
    assert lines[found.environments["production"].place.line - 1] == "  production:"  # type: ignore[union-attr, operator]


def test_the_text_is_the_same_in_any_order_and_says_what_it_is() -> None:
    text = lockfile.text("shop", BOTH)
    shuffled = replace(FACTS, pythons=dict(reversed(FACTS.pythons.items())))
    other = {"production": BOTH["production"], "local": Locked("process", shuffled)}
    assert lockfile.text("shop", other) == text
    assert text.startswith("# What deploykit has to know")
    assert "Written by `deploykit lock`, not by hand; commit it." in text
    assert "\nformat: 1\nname: shop\n" in text
    assert "        - http_gzip_static\n        - http_v2\n" in text


def test_one_changed_fact_is_one_changed_line_and_the_digest() -> None:
    before = lockfile.text("shop", BOTH).splitlines()
    now = lockfile.text("shop", {**BOTH, "local": Locked("process", replace(FACTS, cpus=4))}).splitlines()
    changed = [(old, new) for old, new in zip(before, now, strict=True) if old != new]
    assert [new.partition(":")[0].strip() for _, new in changed] == ["cpus", "digest"]


def test_nothing_of_the_machine_that_wrote_it_is_in_it() -> None:
    there = replace(FACTS, user="somebody", nginx=replace(FACTS.nginx, command="/home/somebody/bin/nginx"))
    assert lockfile.text("shop", {"local": Locked("process", there)}) == lockfile.text(
        "shop", {"local": Locked("process", FACTS)}
    )


def test_a_file_that_says_so_already_is_left_alone_and_a_link_stays_one(spec_path: Path) -> None:
    path = lockfile.beside(spec_path)
    real = path.with_name("elsewhere.lock")
    path.symlink_to(real)
    assert lockfile.write(path, "shop", BOTH)
    assert path.is_symlink()
    before = real.stat().st_mtime_ns
    assert not lockfile.write(path, "shop", BOTH)
    assert real.stat().st_mtime_ns == before


# --- refused ------------------------------------------------------------------------------------------------------


def test_a_file_that_is_cut_anywhere_is_refused(spec_path: Path) -> None:
    text = lockfile.text("shop", BOTH)
    lengths = {*range(0, len(text), 7), len(text) - 1, len(text) - 4}
    for length in lengths:
        assert refused(spec_path, text[:length]), length
    assert "is not whole: its last line should be `...`" in refused(spec_path, text[: text.index("  production:")])


def test_any_line_that_is_changed_removed_or_doubled_is_refused(spec_path: Path) -> None:
    lines = lockfile.text("shop", BOTH).splitlines(keepends=True)
    shuffle = random.Random(7)  # noqa: S311 -- no secret
    for number, line in enumerate(lines):
        if line.startswith(("#", "...")):
            continue
        place = shuffle.randrange(len(line) - 1)
        other = "7" if line[place] != "7" else "8"
        for changed in (f"{line[:place]}{other}{line[place + 1 :]}", "", line * 2):
            refused(spec_path, "".join([*lines[:number], changed, *lines[number + 1 :]]))


def test_what_was_edited_is_said_at_the_line_of_its_digest(spec_path: Path) -> None:
    text = lockfile.text("shop", BOTH)
    said = refused(spec_path, text.replace("cpus: 3", "cpus: 64", 1))
    line = next(n for n, each in enumerate(text.splitlines(), 1) if "digest" in each)
    assert "`local` was changed by hand" in said
    assert f"deploykit.lock:{line}:" in said
    swapped = text.replace("  local:", "  other:").replace("  production:", "  local:")
    assert "was changed by hand" in refused(spec_path, swapped)
    assert "was changed by hand" in refused(spec_path, text.replace("    cpus: 3\n", "    cpus: 3\n    more: 1\n"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not whole"),
        ("version = 3\n[[package]]\n", "is not"),
        ('{"lockfileVersion": 3}\n', "`format` is missing"),
        ("- a\n- b\n...\n", "is not what `deploykit lock` writes"),
        ("format: 2\nname: shop\nmore: {}\n", "has the format 2; this deploykit reads 1"),
        ("format: 99999999999999999999\n", "has the format 999999999; this deploykit reads 1"),
        ("format: x\nname: shop\n...\n", "is not what `deploykit lock` writes"),
        ("format: 1\nname: other\nenvironments: {}\n...\n", "is of the stack `other`, and the spec is `shop`"),
        ("format: 1\nname: shop\nenvironments: []\n...\n", "`environments` should be a mapping"),
        ("format: 1\nname: shop\nenvironments: {local: 5}\n...\n", "`local` should be a mapping"),
        ("format: 1\nname: shop\nenvironments: {local: {target: moon}}\n...\n", "has the target `moon`"),
        ("format: 1\nname: shop\nenvironments: {local: {target: process}}\n...\n", "is missing"),
        ("<<<<<<< HEAD\nformat: 1\n=======\nformat: 1\n>>>>>>> branch\n...\n", "is not what `deploykit lock` writes"),
        ("a: &a [*a]\n...\n", "is not what `deploykit lock` writes"),
    ],
)
def test_what_is_foreign_or_of_the_future_is_refused(spec_path: Path, text: str, said: str) -> None:
    assert said in refused(spec_path, text)


def test_bytes_that_are_no_text_are_refused(spec_path: Path) -> None:
    lockfile.beside(spec_path).write_bytes(b"\x00\xff\xfe" * 9)
    with pytest.raises(SpecError, match=r"deploykit\.lock:1"):
        lockfile.read_beside(spec_path, "shop")


def test_what_is_no_file_is_refused(spec_path: Path) -> None:
    lockfile.beside(spec_path).mkdir()
    with pytest.raises(SpecError, match="should be a file; this is a folder"):
        lockfile.read_beside(spec_path, "shop")


# --- whether it covers a spec -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "gap"),
    [
        ("name: shop", "name: shop", None),
        ("  api:", "  new: {entrypoint: 'n:a'}\n  api:", "it does not know the app new"),
        ('"shop.wsgi:application"', '"shop.wsgi:application", python: "3.12"', "asks for Python 3.12, and it has 3.11"),
        ('"shop.wsgi:application"', '"shop.wsgi:application", python: "3.11"', None),
        ("instances: 2", "instances: 1", None),
        ("instances: 2", "instances: 3", "it has too few ports for api"),
    ],
)
def test_it_covers_a_spec_as_long_as_that_asks_for_nothing_else(
    spec_path: Path, old: str, new: str, gap: str | None
) -> None:
    spec_path.write_text(SPEC.replace(old, new))
    gaps = lockfile.gaps(BOTH["local"], loaded(spec_path), "process")
    assert (gap in " ".join(gaps)) if gap else not gaps
    assert lockfile.gaps(BOTH["local"], loaded(spec_path), "docker") == ["it is of the target process"]


def test_a_base_image_that_the_spec_names_has_to_be_the_one(spec_path: Path) -> None:
    for images, found in (("nginx: nginx", 0), ("nginx: 'nginx:1.26'", 1), ("python: 'python:3.12'", 1)):
        spec_path.write_text(f"{SPEC}images: {{{images}}}\n")
        assert len(lockfile.gaps(BOTH["production"], loaded(spec_path), "docker")) == found, images


def test_an_app_that_is_gone_leaves_no_trace(spec_path: Path) -> None:
    spec_path.write_text(SPEC.replace('  api: {entrypoint: "api:app", app_server: {socket: tcp}, instances: 2}\n', ""))
    spec_path.write_text(spec_path.read_text().replace(", /api/: api", ""))
    facts = lockfile.facts_for(BOTH["production"], loaded(spec_path))
    assert set(facts.pythons) == {"web"}
    assert set(facts.images) == {"nginx", "web"}


@pytest.mark.parametrize("target", ["process", "docker"])
def test_what_is_rendered_of_it_is_what_is_rendered_of_the_live_facts(spec_path: Path, target: str) -> None:
    path = spec_path
    if target == "docker":
        path.write_text(SPEC.replace("app_server: {socket: tcp}, ", ""))
    spec, source = converge.read_spec(path)
    live = planner.assumed_facts(spec)
    put(path, lockfile.text("shop", {"local": Locked(target, live)}))  # type: ignore[arg-type]
    found = lockfile.read_beside(path, "shop")
    assert found is not None
    locked = lockfile.facts_for(found.environments["local"], spec)
    trees = [render.render(converge.plan_spec(spec, source, path.parent, facts, target))[0] for facts in (live, locked)]
    assert trees[0] == trees[1]


# --- what the live target has otherwise ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"ports": {"api": (9000, 9001)}, "user": "another"}, None),
        ({"memory_bytes": (7837 << 20) - 4096}, None),
        (
            {"nginx": replace(FACTS.nginx, version=(1, 22, 1), command="/usr/sbin/nginx")},
            "nginx 1.22.1 runs, deploykit.lock says 1.26.3; `deploykit lock` writes it down",
        ),
        ({"nginx": replace(FACTS.nginx, modules=FACTS.nginx.modules - {"http_v2"})}, "nginx lacks http_v2"),
        ({"nginx": replace(FACTS.nginx, modules=FACTS.nginx.modules | {"http_v3"})}, "nginx has http_v3"),
        ({"nginx": replace(FACTS.nginx, loadable=())}, f"nginx can't load {FAIR}, deploykit.lock says otherwise"),
        ({"pythons": {**FACTS.pythons, "web": "3.13.1"}}, "Python 3.13.1 runs web, deploykit.lock says 3.11.2"),
        ({"cpus": 8}, "there are 8 CPUs, deploykit.lock says 3"),
        ({"memory_bytes": 4 << 30}, "there are 4096 MiB of memory, deploykit.lock says 7837"),
        ({"user": "root"}, "it runs as root, deploykit.lock says a user"),
        ({"images": {"nginx": "nginx:1"}}, "nginx is made of the image nginx:1, deploykit.lock says nothing of it"),
    ],
)
def test_each_difference_is_a_line_with_what_is_written_and_what_to_do(
    changed: dict[str, object], said: str | None
) -> None:
    live = replace(FACTS, **changed)  # type: ignore[arg-type]
    found = lockfile.differences(BOTH["local"], live, "deploykit.lock", "deploykit lock")
    assert len(found) == (0 if said is None else 1)
    assert said is None or said in found[0]
