"""Each filter keeps a hostile value a value: the real parser of that syntax reads back exactly what was meant."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploykit.render import quoting

HOSTILE = [
    "plain",
    "",
    "a b",
    'a"; return 200 "x',
    "a'b",
    "back\\slash",
    "trailing\\",
    "{curly}",
    "a;b#c",
    "%d %n %(here)s",
    "`id`",
    "*?[x]",
    "é ü 漢字",
    "-leading",
    "~home",
]
CONTROL = ["a\nb", "a\rb", "a\0b", "a\x7fb", "a\x85b", "a\u2028b", "\t"]


@pytest.mark.parametrize("filter_name", ["nginx", "nginx_path", "uwsgi", "docker", "shell"])
@pytest.mark.parametrize("text", CONTROL)
def test_control_characters_are_refused_by_every_filter(filter_name: str, text: str) -> None:
    with pytest.raises(quoting.Unquotable):
        quoting.FILTERS[filter_name](text)


@pytest.mark.parametrize("text", ["$host", "a${b}", "$"])
def test_nginx_has_no_escape_for_a_dollar_so_it_is_refused(text: str) -> None:
    with pytest.raises(quoting.Unquotable, match="variable"):
        quoting.nginx(text)


@pytest.mark.parametrize("text", ["@(exec://id)", "$(HOME)", "%(x)", " a", "a "])
def test_what_uwsgi_would_expand_or_strip_is_refused(text: str) -> None:
    with pytest.raises(quoting.Unquotable):
        quoting.uwsgi(text)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=32, blacklist_categories=["Cs", "Cc"]), max_size=60))
def test_nginx_reads_one_parameter_and_exactly_the_value(text: str) -> None:

    try:
        quoted = quoting.nginx(text)
    except quoting.Unquotable:
        return
    assert _nginx_tokens(f"x {quoted};") == ["x", text, ";"]


def _nginx_tokens(line: str) -> list[str]:
    """The tokens of a line by nginx's own rules, as its documentation and source state them."""
    tokens = []
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"|([^\s;{}"]+)|([;{}])', line, re.DOTALL):
        if match[1] is not None:
            tokens.append(re.sub(r'\\(["\\])', r"\1", match[1]))
        else:
            tokens.append(match[2] or match[3])
    return tokens


@pytest.mark.parametrize("text", HOSTILE)
def test_the_real_nginx_serves_the_value_as_it_is(text: str, tmp_path: Path) -> None:
    conf = tmp_path / "nginx.conf"
    conf.write_text(
        f"pid {tmp_path}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; server {{ listen unix:{tmp_path}/s; location {quoting.nginx_path('/' + text)} {{ "
        f"add_header X-Value {quoting.nginx(text or 'x')}; }} }} }}\n"
    )
    paths = [f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
    conf.write_text(conf.read_text().replace("access_log off;", "access_log off; " + " ".join(paths)))
    result = subprocess.run(["nginx", "-t", "-q", "-p", tmp_path, "-c", conf], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("value", [*HOSTILE, *CONTROL, ["a", 'b"'], {"k'": "v\n"}, 3, True, None])
def test_python_reads_back_the_same_data(value: object) -> None:
    assert ast.literal_eval(quoting.python(value)) == value


@pytest.mark.parametrize("text", HOSTILE)
def test_a_shell_reads_one_word(text: str) -> None:
    result = subprocess.run(
        ["sh", "-c", f"printf %s {quoting.shell(text)}"], capture_output=True, text=True, check=True
    )
    assert result.stdout == text


@pytest.mark.parametrize("text", [*HOSTILE, *CONTROL])
def test_json_is_json(text: str) -> None:
    assert json.loads(quoting.json_text([text])) == [text]
