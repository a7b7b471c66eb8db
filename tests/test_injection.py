"""No value of a spec becomes syntax: it is refused, or it is data in every file that holds it.

Each payload goes into each place of a spec that takes text, as value and as key. Where the spec is still taken, every
rendered file has to have the same skeleton (directives, options, Python statements, Dockerfile instructions) as that of
a harmless word; only data may differ.
"""

from __future__ import annotations

import ast
import copy
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploykit import converge, planner, render
from deploykit.errors import SpecError

BASE: dict[str, Any] = {
    "version": 1,
    "name": "shop",
    "target": "docker",
    "apps": {
        "web": {
            "source": "src",
            "framework": "wsgi",
            "entrypoint": "shop.app:app",
            "python": "3.11",
            "requirements": "requirements.txt",
            "app_server": {"type": "uwsgi", "protocol": "uwsgi", "workers": 1, "threads": 2},
            "instances": [{"weight": 2}],
            "balance": "round_robin",
            "healthcheck": {"path": "/healthz", "host": "shop.test", "contains": "ok"},
            "environment": {"GREETING": "hello"},
            "env_file": "shop.env",
            "secrets": {"KEY": {"env": "SHOP_KEY"}, "TOKEN": {"file": "token.txt"}},
            "release": ["python manage.py migrate"],
            "volumes": {"data": "data/"},
        },
        "api": {"source": "src", "entrypoint": "shop.api:app"},
    },
    "sites": {
        "shop": {
            "server_name": ["shop.test"],
            "locations": {
                "/app/": "web",
                "/static/": {"files": "src/static/", "cache_control": "1h"},
                "/api/": {"app": "api"},
            },
        }
    },
    "listen": "127.0.0.1:8080",
    "images": {"python": "python:3.11-slim", "nginx": "nginx"},
    "checks": [{"get": "/login", "site": "shop", "contains": "Sign in"}],
}

PAYLOADS = [
    # shells
    "; touch /tmp/pwned",
    "$(touch /tmp/pwned)",
    "`touch /tmp/pwned`",
    "a && touch /tmp/pwned",
    "| tee /tmp/pwned",
    "' ; touch /tmp/pwned ; '",
    # nginx
    "x; return 200 pwned",
    'x"; add_header X-Pwned 1; #',
    "x;} server { listen 81; return 200 pwned; } #",
    "$host",
    "${host}",
    "$http_x_pwned",
    "# comment",
    "{",
    "}",
    "~ \\.php$",
    "a\\",
    'a\\"; return 200; "',
    "/../../etc/passwd",
    "include /etc/passwd",
    "content_by_lua_block { os.execute('id') }",
    # control characters
    "a\nreturn 200 pwned;",
    "a\r\nSet-Cookie: pwned=1",
    "a\x00b",
    "a\x1b[2Jb",
    "a\x7fb",
    "a\x85b",
    "a\u2028b",
    "a\u202eb",
    "a\ud800b",
    # uwsgi.ini
    "@(exec://touch /tmp/pwned)",
    "\\@(exec://id)",
    "$(HOME)",
    "%(x)",
    "%",
    "x %",
    "a ; b",
    "[uwsgi]",
    "a\nexec-as-user=touch /tmp/pwned",
    # Python
    "'''",
    '"""',
    "' + __import__('os').system('id') + '",
    "\\'; import os; os.abort()",
    "__import__('os').abort()",
    # Jinja
    "{{ 7*7 }}",
    "{% for x in range(9) %}x{% endfor %}",
    "{{ ''.__class__.__mro__ }}",
    "{# x #}",
    # Docker, options
    "--upload-pack=touch /tmp/pwned",
    "-v",
    "python:3.11\nRUN touch /tmp/pwned",
    "a b",
    "ONBUILD RUN id",
    # paths
    "/etc/passwd",
    "../../../etc/passwd",
    "~/.ssh/id_rsa",
    "..",
    ".",
    "",
    " ",
    # YAML and JSON
    "!!python/object/apply:os.system [id]",
    "*alias",
    "&anchor",
    "<<",
    "null",
    "true",
    "yes",
    "0x10",
    "1e999",
    "]",
    '"',
    "x" * 5000,
]


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every place that takes text: (path, `value` or `key`)."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*at, key), "key"
            yield from places(item, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*at, index))
    elif isinstance(value, str):
        yield at, "value"


def changed(at: tuple[Any, ...], kind: str, payload: str) -> dict[str, Any]:
    spec = copy.deepcopy(BASE)
    parent: Any = spec
    for part in at[:-1]:
        parent = parent[part]
    if kind == "value":
        parent[at[-1]] = payload
    else:
        items = [(payload if key == at[-1] else key, item) for key, item in parent.items()]
        parent.clear()
        parent.update(items)
    return spec


@functools.cache
def skeleton(path: str, text: str) -> object:
    """The structure of a generated file, without its data."""
    if path.startswith("nginx/"):
        return nginx_skeleton(text)
    if path.endswith(".py"):
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Dict):
                node.keys, node.values = [], []
            elif isinstance(node, ast.List):
                node.elts = []
            elif isinstance(node, ast.Constant):
                node.value = None
        return ast.dump(tree)
    if path.endswith(".ini"):
        return [line.split(" = ")[0] for line in text.splitlines() if line and line[0] != ";"]
    if path.endswith("Dockerfile"):
        return [line.split()[0] for line in text.splitlines() if line and line[0] not in "# "]
    return [line.split("=")[0] for line in text.splitlines() if line and line[0] not in ";#"]


def nginx_skeleton(text: str) -> list[object]:
    import tempfile

    import crossplane

    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        parsed = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
    assert parsed["status"] == "ok", parsed["errors"]

    def names(block: list[dict[str, Any]]) -> list[object]:
        return [one(each) for each in block]

    def one(each: dict[str, Any]) -> object:
        inside = each.get("block", [])
        if each["directive"] in ("map", "geo", "types"):  # their lines are data
            return [each["directive"], len(inside)]
        several = each["directive"] in ("server_name", "listen")
        return [each["directive"], 0 if several else len(each["args"]), names(inside)]

    return names(parsed["config"][0]["parsed"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("injection")
    (folder / "src" / "static").mkdir(parents=True)
    (folder / "src" / "requirements.txt").write_text("")
    return folder


def files_of(folder: Path, data: dict[str, Any]) -> dict[str, str]:
    path = folder / "deploykit.yaml"
    path.write_text(json.dumps(data), errors="surrogatepass")
    spec, source = converge.read_spec(path)
    plan = converge.plan_spec(spec, source, folder, planner.assumed_facts(spec), spec.target or "process")
    return {file.path: file.text for file in render.render(plan)[0]}


@pytest.mark.parametrize(
    ("at", "kind"),
    list(places(BASE)),
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else value,
)
def test_a_payload_is_refused_or_stays_data(at: tuple[Any, ...], kind: str, folder: Path) -> None:
    harmless = {path.replace("shop", "NAME"): skeleton(path, text) for path, text in files_of(folder, BASE).items()}
    for payload in PAYLOADS:
        if payload.startswith("~ ") and kind == "key" and "locations" in at:
            continue  # Means what it says there: what a regular expression finds.
        try:
            files = files_of(folder, changed(at, kind, payload))
        except SpecError:
            continue
        except UnicodeEncodeError:
            assert "\ud800" in payload
            continue
        for path, text in files.items():
            known = harmless.get(path.replace("shop", "NAME"))
            if known is not None:
                assert skeleton(path, text) == known, (payload, path)
        assert not any("\n" + line in text for text in files.values() for line in ("Set-Cookie", "exec-as-user"))


def test_the_payloads_are_enough_and_not_all_refused(folder: Path) -> None:
    cases = len(list(places(BASE))) * len(PAYLOADS)
    assert cases > 3000
    taken = files_of(folder, changed(("apps", "web", "environment", "GREETING"), "value", PAYLOADS[0]))
    assert any("touch /tmp/pwned" in text for text in taken.values())
