"""Any file whatever ends in a Spec or a SpecError that says where and what, soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deploykit.errors import SpecError
from deploykit.spec.load import find_spec, load_spec, meaning
from tests.spec.examples import RIGHT, SMALLEST


def refusal(path: Path) -> str:
    """What is said about the file, its folder left out."""
    with pytest.raises(SpecError) as caught:
        meaning(*load_spec(path))
    assert caught.value.exit_code == 2
    return str(caught.value).replace(os.path.relpath(path.parent), ".").replace(str(path.parent), ".")


@pytest.mark.parametrize("name", RIGHT)
def test_a_spec_that_is_right_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / "deploykit.yaml"
    path.write_bytes(RIGHT[name].encode())
    spec, source = load_spec(path)
    meaning(spec, source, app_servers=["gunicorn", "uwsgi"], frameworks=["django"])
    assert spec.version == 1


BYTES = {
    b"\xff\xfev\x00": "error: should be UTF-8; the byte 0xff can't stand here\n  --> ./x:1:1\n"
    "  hint: save it as UTF-8, not UTF-16",
    b"version: 1\nname: caf\xe9\n": "error: should be UTF-8; the byte 0xe9 can't stand here\n  --> ./x:2:10",
    b"version: 1\nname: \xc3\xa9\xed\xa0\x80": "error: should be UTF-8; the byte 0xed can't stand here\n  --> ./x:2:8",
    b"\xef\xbb\xbfversion: 1": "error: begins with a byte order mark\n  --> ./x:1:1\n"
    "  hint: save it as UTF-8 without one",
    b"version: 1\na\0": "error: should not contain the control character U+0000\n  --> ./x:2:2",
    b"version: 1\r\n\x1b[2J": "error: should not contain the control character U+001B\n  --> ./x:2:1",
    b"version: 1\rname: x": "error: should not contain the control character U+000D\n  --> ./x:1:11",
    "a: b\u2028c: d".encode(): "error: should not contain the control character U+2028\n  --> ./x:1:5",
    "# \u202etxet\n".encode(): "error: should not contain the control character U+202E\n  --> ./x:1:3",
    b"": "error: is empty\n  --> ./x\n  hint: `deploykit init` writes a first one",
    b" \n\n": "error: is empty\n  --> ./x\n  hint: `deploykit init` writes a first one",
    b"x" * ((1 << 20) + 1): "error: should be at most 1 MiB\n  --> ./x",
    b"\n" * 60_000: "error: should have at most 50000 lines\n  --> ./x",
}


@pytest.mark.parametrize("data", BYTES, ids=range(len(BYTES)))
def test_bytes_that_no_editor_shows_are_refused_with_their_place(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data)
    assert refusal(tmp_path / "x") == BYTES[data]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("")
    assert "this is a folder\n  --> ./folder\n  hint: name the file in it: ./folder/deploykit.yaml" in refusal(
        tmp_path / "folder"
    )
    assert "this is neither a file nor a link to one" in refusal(tmp_path / "pipe")
    assert "can't be read: too many levels of symbolic links" in refusal(tmp_path / "loop")
    assert "can't be read: not a directory" in refusal(tmp_path / "file" / "x")
    assert "can't be read: file name too long" in refusal(tmp_path / ("x" * 300))
    assert "can't be read: " in refusal(tmp_path / "a\0b")
    assert "there is no such file" in refusal(tmp_path / "missing")


def test_the_spec_is_found_here_or_in_the_nearest_parent(tmp_path: Path) -> None:
    inner = tmp_path / "shop" / "src" / "deep"
    inner.mkdir(parents=True)
    (tmp_path / "deploykit.yaml").write_text("")
    assert find_spec(inner) == tmp_path / "deploykit.yaml"
    (tmp_path / "shop" / "deploykit.yaml").write_text("")
    assert find_spec(inner) == tmp_path / "shop" / "deploykit.yaml"
    assert find_spec(tmp_path) == tmp_path / "deploykit.yaml"


def test_without_a_spec_init_is_named_or_the_file_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="`deploykit init` writes one"):
        find_spec(tmp_path)
    (tmp_path / "deploykit.yml").write_text("")
    with pytest.raises(SpecError, match=r"rename deploykit\.yml"):
        find_spec(tmp_path)


def test_a_source_that_links_lead_out_of_is_refused(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "out").symlink_to(tmp_path)
    (home / "in").symlink_to(home)
    (home / "x").write_text(SMALLEST.replace("{entry", "{source: out, entry"))
    assert "the link 'out' leads out of it" in refusal(home / "x")
    (home / "x").write_text(SMALLEST.replace("{entry", "{source: in, entry"))
    meaning(*load_spec(home / "x"))


def test_a_spec_that_is_a_link_is_read_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "real" / "src").mkdir(parents=True)
    (tmp_path / "real" / "spec").write_text(SMALLEST.replace("{entry", "{source: src, entry"))
    (tmp_path / "link").symlink_to("real/spec")
    meaning(*load_spec(tmp_path / "link"))


APPS = "version: 1\nname: a\napps:\n"
MANY = 19_000
HEAVY = {
    "brackets on one line": "[" * 100_000,
    "brackets on lines": "[\n" * 40_000,
    "braces": "{a: " * 100_000,
    "dashes": "- " * 200_000,
    "question marks": "? " * 200_000,
    "lines, each deeper": "".join(" " * depth + "a:\n" for depth in range(1000)),
    "quadratic aliases": "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 10_000 + "]",
    "exponential aliases": "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 50)),
    "a chain of aliases": "a0: &a0 x\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 9000)),
    "a long word": "a" * (1 << 20),
    "a long key": "a" * 500_000 + ": b",
    "a long quote": "a: '" + "'" * 1_000_000,
    "a long number": "version: " + "1" * 900_000,
    "a long duration": APPS + "  w: {entrypoint: 'a:b', timeout: " + "1" * 900_000 + "}",
    "a long name": "version: 1\nname: " + "a" * 900_000,
    "a long host name": APPS + "  w: {entrypoint: 'a:b', healthcheck: {host: " + "a." * 450_000 + "}}",
    "a long entrypoint": APPS + "  w: {entrypoint: " + "a." * 450_000 + "}",
    "a long address": APPS.replace("apps", "listen: '" + "1." * 450_000 + "'\napps"),
    "a long range": "requires: '" + ">1," * 300_000 + "'",
    "a long directive": "%YAML 1." + "1" * 900_000 + "\n---\na: b",
    "spaces": " " * 1_000_000,
    "comments": "# a\n" * 49_000,
    "documents": "---\n" * 40_000,
    "anchors": "".join(f"a{i}: &a{i} b\n" for i in range(MANY)),
    "tags": "".join(f"a{i}: !t b\n" for i in range(MANY)),
    "unknown keys": "".join(f"timeou{i}: b\n" for i in range(MANY)),
    "one key many times": "a: b\n" * MANY,
    "keys without values": "".join(f"timeou{i}:\n" for i in range(MANY)),
    "bad apps": APPS + "".join(f"  A{i}: b\n" for i in range(MANY)),
    "bad variables": APPS + "  w:\n    environment:\n" + "".join(f"      A-{i}: true\n" for i in range(MANY)),
    "bad choices": APPS + "".join(f"  a{i}: {{balance: least-con}}\n" for i in range(MANY // 2)),
    "apps without sites": APPS + "".join(f"  a{i}: {{entrypoint: 'a:b', framework: flsk}}\n" for i in range(5000)),
    "volumes that overlap": APPS
    + "  w:\n    entrypoint: a:b\n    volumes:\n"
    + "".join(f"      v{i}: a{i}/b\n" for i in range(MANY // 2))
    + "".join(f"      w{i}: a{i}\n" for i in range(MANY // 2 - 10)),
    "locations of no app": APPS
    + "".join(f"  a{i}: {{entrypoint: 'a:b', stop_grace_period: 1s}}\n" for i in range(4000))
    + "sites:\n  s:\n    locations:\n"
    + "".join(f"      /{i}: b{i}\n" for i in range(4000)),
    "sites of one name": APPS
    + "  w: {entrypoint: 'a:b'}\nsites:\n"
    + "".join(f"  s{i}: {{server_name: a, locations: {{/: w}}}}\n" for i in range(4500)),
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_heavy_file_is_refused_soon_and_in_few_words(name: str, tmp_path: Path) -> None:
    path = tmp_path / "deploykit.yaml"
    path.write_text(HEAVY[name])
    started = time.process_time()
    words = refusal(path)
    assert time.process_time() - started < 2
    assert len(words) < 60_000
