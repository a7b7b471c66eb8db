"""What nginx's log says of the requests that came while it was switched, from lines that nginx wrote."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deploykit.cli.console import Console
from deploykit.cli.report import show_traffic
from deploykit.draining import connected
from deploykit.nginx.access_log import Traffic, traffic
from deploykit.supervision import journal

HEAD = '127.0.0.1 [2026-11-21T12:00:00+00:00] "GET / HTTP/1.1"'
REST = 'c0ffee "localhost"'


def line(status: int, *, seconds: str = "0.004", began: str = "0.004", who: str = "-", head: str = HEAD) -> str:
    upstream = '"-"' if began == "-" and status < 500 else '"unix:run/web/1.sock"'
    return f'{head} {status} 12 {seconds} {upstream} "{seconds}" {REST} "{began}" {who}'


CUT = (
    "2026/11/21 12:00:00 [error] 7#7: *4 upstream prematurely closed connection while reading upstream, client: ::1,"
    ' server: localhost, request: "GET /events HTTP/1.1", upstream: "http://unix:run/web/1.sock:/events"'
)


def test_requests_of_clients_are_counted_and_those_of_checks_are_not() -> None:
    seen = traffic([line(200), line(404), line(200, who="probe"), line(413, who="probe")])
    assert seen == Traffic(2, {}, 0, 0, 0.004)


def test_errors_are_failed_whoever_said_so() -> None:
    seen = traffic([line(200), line(500), line(502, began="-", seconds="2.001"), line(502, began="-")])
    assert (seen.failed, dict(seen.errors), seen.slowest_seconds) == (3, {500: 1, 502: 2}, 2.001)
    assert str(seen) == "4 requests, 3 failed (1 x 500, 2 x 502), the slowest answer began after 2.00 s"


def test_an_answer_that_ended_in_its_middle_is_failed_and_one_that_was_tried_elsewhere_is_not() -> None:
    elsewhere = CUT.replace("while reading upstream,", "while reading response header from upstream,")
    reset = CUT.replace("upstream prematurely closed connection", "recv() failed (104: Connection reset by peer)")
    assert traffic([line(200), CUT, elsewhere, reset]).cut_off == 2


def test_a_client_that_left_is_told_and_not_failed() -> None:
    seen = traffic([line(499, began="-")])
    assert (seen.failed, seen.left) == (0, 1)
    assert "1 not waited for by the client" in str(seen)


@pytest.mark.parametrize("status", [400, 444])
def test_what_was_no_request_for_a_site_is_nobodys(status: int) -> None:
    assert traffic([line(status, began="-", head=HEAD.replace("GET / HTTP/1.1", "\\x16\\x03"))]).requests == 0


def test_the_wait_is_that_for_all_instances_that_were_tried_and_not_that_for_the_last_byte() -> None:
    long = line(200, seconds="60.000", began="0.010")
    tried = line(200, seconds="2.001, 0.004", began="-, 0.003").replace(" 12 2.001, 0.004 ", " 12 2.005 ")
    assert traffic([long]).slowest_seconds == 0.010
    assert traffic([tried]).slowest_seconds == pytest.approx(2.004)


def test_other_lines_are_passed_over() -> None:
    assert traffic(["", "2026/11/21 12:00:00 [notice] 7#7: signal 1 (SIGHUP) received", HEAD, "x" * 100]) == Traffic()


def shown(seen: Traffic | None) -> str:
    err = io.StringIO()
    show_traffic(Console(io.StringIO(), err, {}), seen)
    return err.getvalue()


def test_nothing_is_told_where_nothing_was_seen_or_nothing_came() -> None:
    assert shown(None) == shown(Traffic()) == ""
    assert shown(Traffic(1204, slowest_seconds=0.412)) == (
        " while it switched: 1,204 requests, 0 failed, the slowest answer began after 0.41 s\n"
    )


def test_a_log_is_read_on_over_its_rotation_and_not_at_all_where_a_part_is_gone(tmp_path: Path) -> None:
    log = tmp_path / "nginx.log"
    assert journal.mark(log) == ""
    log.write_text("before\n")
    mark = journal.mark(log)
    assert journal.since(log, mark) == ()
    with log.open("a") as file:
        file.write("one\n")
    for number in (1, 2):
        for older in range(number - 1, 0, -1):
            log.with_name(f"nginx.log.{older}").rename(log.with_name(f"nginx.log.{older + 1}"))
        log.rename(log.with_name("nginx.log.1"))
        log.write_text(f"in file {number}\n")
    assert journal.since(log, mark) == ("one", "in file 1", "in file 2")
    log.with_name("nginx.log.2").unlink()
    assert journal.since(log, mark) is None


def test_accepted_connections_of_one_socket_are_counted() -> None:
    lines = [
        "Num       RefCount Protocol Flags    Type St Inode Path",
        "0000000000000000: 00000002 00000000 00010000 0001 01 101 ../../run/web/abc-1.sock",
        "0000000000000000: 00000003 00000000 00000000 0001 03 102 ../../run/web/abc-1.sock",
        "0000000000000000: 00000003 00000000 00000000 0001 03 103 ../../run/web/abc-1.sock",
        "0000000000000000: 00000003 00000000 00000000 0001 03 104 ../../run/web/abc-2.sock",
        "0000000000000000: 00000003 00000000 00000000 0001 03 105",
    ]
    assert connected(lines, "/web/abc-1.sock") == 2
    assert connected(lines, "/web/abc-1.sock", {"103", "104"}) == 1
