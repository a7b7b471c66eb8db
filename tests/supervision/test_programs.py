"""What supervisord reads of a program is what was meant, by supervisord's own readers."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from deploykit.supervision.home import program_name, program_parts
from deploykit.supervision.programs import Program, program_text, quote

ODD = (
    "/plain/python",
    "/with space/python",
    "/two  spaces /python ",
    "/100%/python",
    "/%(here)s/%(ENV_HOME)s/%s",
    '/it\'s "quoted"/python',
    "/semi ;colon #hash;/python",
    "/back\\slash\\",
    "/$HOME/`id`/$(id)/python",
    "/(a) [b] {c} *?/python",
    "/名前 é\u00a0\u3000/python",
    "",
    "--x=; y",
    "~/x,y=z",
)


def read(tmp_path: Path, text: str) -> tuple[list[str], object]:
    """The command's words and the whole program, as supervisord has them from that text."""
    from supervisor.options import ServerOptions

    (tmp_path / "logs").mkdir()
    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "one.conf").write_text(text)
    main = tmp_path / "supervisord.conf"
    main.write_text("[supervisord]\nlogfile = logs/log\n[include]\nfiles = programs/*.conf\n")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        options = ServerOptions()
        options.configfile = str(main)
        options.here = str(tmp_path)
        section = options.read_config(str(main))
    finally:
        os.chdir(before)
    (group,) = section.process_group_configs
    (program,) = group.process_configs
    return shlex.split(program.command), program


@pytest.mark.parametrize("word", ODD)
def test_each_word_of_a_command_arrives_as_it_was(word: str, tmp_path: Path) -> None:
    program = Program("web-1-abc", ("/bin/x", word, "serve"), "releases/web/abc/code", "logs/web-1.log", "TERM", 35)
    words, _ = read(tmp_path, program_text(program))
    assert words == ["/bin/x", word, "serve"]


@pytest.mark.parametrize("word", [word for word in ODD if word])
def test_a_word_at_either_end_of_a_command_arrives_as_well(word: str, tmp_path: Path) -> None:
    program = Program("web-1-abc", (word, word), "releases/web/abc/code", "logs/web-1.log", "TERM", 35)
    words, _ = read(tmp_path, program_text(program))
    assert words == [word, word]


def test_all_settings_arrive(tmp_path: Path) -> None:
    environment = {"DEPLOYKIT_SOCKET": "../../../../run/web/abc-1.sock", "DEPLOYKIT_OTHER": "127.0.0.1:8101"}
    program = Program("web-1-abc", ("/bin/x",), "releases/web/abc/code", "logs/web-1.log", "QUIT", 35, environment)
    _, found = read(tmp_path, program_text(program))
    assert (found.name, found.directory, found.environment) == ("web-1-abc", program.directory, environment)  # type: ignore[attr-defined]
    assert (found.stopwaitsecs, found.autostart, found.killasgroup) == (35, False, True)  # type: ignore[attr-defined]
    assert found.stdout_logfile == "logs/web-1.log"  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", ["line\nbreak", "nul\0", "\x85", "\x7f", "\udcff"])
def test_what_the_file_can_t_hold_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="can't hold the character"):
        quote(word)


@pytest.mark.parametrize("app", ["web", "a-1", "a-1-b", "x-2-3"])
def test_a_program_is_known_by_its_name(app: str) -> None:
    assert program_parts(program_name(app, 12, "0a1b2c3d4e")) == (app, 12, "0a1b2c3d4e")
    assert program_parts("nginx") is None
