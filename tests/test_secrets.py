"""Secrets reach the app byte for byte, and nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_reconcile import app

from deploykit import secrets
from deploykit.errors import SpecError
from deploykit.plan import FilePlan, SecretRef
from deploykit.render import _environment, _render

VALUES = {
    "PLAIN": "s3cret",
    "QUOTES": """it's "quoted" `id` $(id)""",
    "LINES": "one\ntwo\r\n\tthree",
    "UNICODE": "pässwörd 漢字 🔑",
    "EQUALS": "a=b==",
    "EMPTY": "",
    "BYTES": b"\xff\xfe raw".decode("utf-8", "surrogateescape"),
    "EVERY": "".join(chr(code) for code in range(1, 128)),
}


def test_every_value_reaches_the_app_byte_for_byte(tmp_path: Path) -> None:
    values = {"name": "web", "environment": {"OPEN": "x"}, "command": ("env", "-0")}
    launcher = _render(_environment(), FilePlan("launch.py", "app/launch.py.j2", values, ""), "")
    (tmp_path / "launch.py").write_text(launcher.text)
    (tmp_path / "secrets").write_bytes(secrets.encode(VALUES))
    environment = {"PATH": os.environ["PATH"], "DEPLOYKIT_SECRETS": str(tmp_path / "secrets")}
    command = [sys.executable, str(tmp_path / "launch.py"), "serve"]
    result = subprocess.run(command, env=environment, capture_output=True, check=True)
    seen = dict(entry.split(b"=", 1) for entry in result.stdout.split(b"\0") if entry)
    for name, value in VALUES.items():
        assert seen[name.encode()] == value.encode("utf-8", "surrogateescape"), name
    assert seen[b"OPEN"] == b"x"
    assert b"DEPLOYKIT_SECRETS" not in seen


def test_every_missing_secret_is_named_at_once_and_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.env").write_text("FINE=ok\nnot a line hunter2\n")
    refs = (SecretRef("KEY", "env", "NOT_SET_HERE"), SecretRef("TOKEN", "file", "missing.txt"))
    with pytest.raises(SpecError) as caught:
        secrets.read(replace(app(), secrets=refs, env_file="bad.env"), tmp_path, {})
    text = str(caught.value)
    assert "NOT_SET_HERE" in text
    assert "missing.txt" in text
    assert "bad.env:2" in text
    assert "hunter2" not in text


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "/dev/zero"):
        refs = (SecretRef("TOKEN", "file", name),)
        with pytest.raises(SpecError, match=r"it is no regular file|Is a directory") as caught:
            secrets.read(replace(app(), secrets=refs, env_file=name), tmp_path, {})
        assert len(caught.value.problems) == 2


def test_a_home_is_found_and_one_that_is_not_there_is_a_missing_file(tmp_path: Path) -> None:
    assert secrets.origin_path(tmp_path, "~/token") == Path.home() / "token"
    with pytest.raises(SpecError, match="can't read `~nobody-of-that-name/token`"):
        refs = (SecretRef("TOKEN", "file", "~nobody-of-that-name/token"),)
        secrets.read(replace(app(), secrets=refs, env_file=""), tmp_path, {})


def test_a_value_that_no_process_can_be_started_with_is_refused_and_one_byte_less_is_not(tmp_path: Path) -> None:
    longest = "x" * (secrets.LONGEST_VARIABLE - len("KEY=") - 1)
    refs = (SecretRef("KEY", "env", "REAL"),)
    wanted = replace(app(), secrets=refs, env_file="")
    with pytest.raises(SpecError, match=r"apps\.web\.secrets\.KEY: `KEY` takes 131073 bytes"):
        secrets.read(wanted, tmp_path, {"REAL": longest + "x"})
    value = secrets.read(wanted, tmp_path, {"REAL": longest})["KEY"]
    subprocess.run(["true"], env={"KEY": value}, check=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1", {"A": "1"}),
        ("export A=1\nB=2\n", {"A": "1", "B": "2"}),
        ("# note\n\nA = x y # z\n", {"A": "x y # z"}),
        ("A='raw \\n $HOME'\n", {"A": "raw \\n $HOME"}),
        ('A="one\\ntwo \\"q\\" \\\\"\n', {"A": 'one\ntwo "q" \\'}),
        ("A='two\nlines'\nB=1", {"A": "two\nlines", "B": "1"}),
        ("A=\nB=", {"A": "", "B": ""}),
        ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
        ("A=\"x # y\" # note\nB='z'\t#note\n", {"A": "x # y", "B": "z"}),
        ("A='it'\"s\"", {"A": "'it'\"s\""}),
    ],
)
def test_an_env_file_is_read_as_it_is_written(text: str, expected: dict[str, str]) -> None:
    assert secrets.read_env_file(text, ".env") == expected


def test_secrets_win_over_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=file\nOTHER=o\n")
    refs = (SecretRef("KEY", "env", "REAL"),)
    values = secrets.read(replace(app(), secrets=refs, env_file=".env"), tmp_path, {"REAL": "env"})
    assert values == {"KEY": "env", "OTHER": "o"}


def test_a_fingerprint_changes_with_the_value_and_with_the_key() -> None:
    prints = {secrets.fingerprint({"A": v}, k) for v in ("1", "2") for k in (b"k", b"l")}
    assert len(prints) == 4


@pytest.mark.parametrize("form", ["{0}", "x{0}y", "{1}", "{2}", "{3}", "{4}"])
def test_a_value_is_hidden_in_every_form_it_may_take(form: str) -> None:
    import base64
    import json
    import urllib.parse

    value = 'hunter2 "x"/ü\nline'
    text = form.format(
        value,
        base64.b64encode(value.encode()).decode(),
        urllib.parse.quote(value, safe=""),
        json.dumps(value),
        repr(value),
    )
    assert "hunter2" not in secrets.Redactor([value])(text)
    assert "[secret]" in secrets.Redactor([value])(text)


def test_a_value_is_hidden_as_programs_write_it_down() -> None:
    import base64
    import json
    import urllib.parse

    value = "CANARY\"s3cr3t/ü%+ x'?>"
    raw = value.encode()
    written = [
        *(base64.b64encode(b"u" * before + raw + b"v" * after).decode() for before in range(4) for after in range(3)),
        *(base64.urlsafe_b64encode(b"u" * before + raw).decode() for before in range(4)),
        raw.hex(),
        urllib.parse.quote(value),
        urllib.parse.quote_plus(value),
        json.dumps(value, ensure_ascii=False),
        ascii(value),
        repr(raw),
        f"postgres://user:{value}@host",
    ]
    redact = secrets.Redactor([value])
    for text in written:
        assert "[secret]" in redact(text), text
        assert len(redact(text)) < len("postgres://user:[secret]@host") + 1
