"""What answers below which path, asked over HTTP on both builds of nginx."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ports import free_port
from rendered import DEBIAN, WHEEL, Rendered

from deploykit.errors import SpecError

SPEC = r"""
apps:
  web: {entrypoint: web:app}
  api: {entrypoint: web:app, app_server: uwsgi}
sites:
  main:
    server_name: shop.test
    locations:
      /: web
      "= /exact": api
      ~ ^/u/[0-9]+$: api
      ~* \\.(jpe?g|png)$: api
      /api/: {app: api, strip_prefix: true}
      /v1.0/: {app: web, strip_prefix: true}
      /static/: {files: static, cache_control: hashed}
      "= /robots.txt": {files: static/robots.txt, cache_control: 1h}
      "= /link.txt": {files: static/link.txt}
      /old/: {redirect: /new/}
      /gone/: {redirect: /, status: 308}
      /search: {redirect: "/find?everywhere=1", status: 302}
      /docs/: {redirect: "https://docs.example.com/"}
      ~ ^/[a-z]{2}/old$: {redirect: /, status: 303}
  www:
    server_name: www.shop.test
    redirect: https://shop.test
""".replace("\\\\", "\\")


@pytest.fixture(scope="module", params=[DEBIAN, WHEEL], ids=["debian", "wheel"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rendered]:
    folder = tmp_path_factory.mktemp("locations")
    (folder / "static").mkdir()
    (folder / "static/robots.txt").write_text("User-agent: *\n")
    (folder / "static/cat.png").write_text("a cat\n")
    (folder / "static/link.txt").symlink_to("../web.py")
    with Rendered(folder, SPEC, nginx=request.param, port=free_port()).up() as running:
        yield running


@pytest.mark.parametrize(
    ("target", "app"),
    {
        "/": "web",
        "/exact": "api",
        "/exact/": "web",
        "/exactly": "web",
        "/u/12": "api",
        "/u/12/": "web",
        "/u/x": "web",
        "/cats/tom.png": "api",
        "/cats/tom.JPG": "api",
        "/cats/tom.gif": "web",
        "/api/v1": "api",
    }.items(),
)
def test_a_path_alone_goes_first_then_the_regex_then_the_longest_path(site: Rendered, target: str, app: str) -> None:
    assert site.told(target, host="shop.test")["member"] == f"{app}-1"


def test_files_are_not_taken_over_by_a_regular_expression(site: Rendered) -> None:
    answer = site.ask("/static/cat.png", host="shop.test")
    assert (answer.status, answer.body, answer.header("content-type")) == (200, "a cat\n", "image/png")


def test_one_file_is_served_at_its_path_and_a_link_out_of_its_folder_is_not(site: Rendered) -> None:
    answer = site.ask("/robots.txt", host="shop.test")
    assert (answer.status, answer.body) == (200, "User-agent: *\n")
    assert answer.header("cache-control") == "public, max-age=3600"
    assert site.ask("/link.txt", host="shop.test").status in (403, 404)


def test_an_app_is_asked_without_its_prefix_and_told_it(site: Rendered) -> None:
    told = site.told("/api/users%20x?a=b%2Fc", host="shop.test")
    assert (told["SCRIPT_NAME"], told["PATH_INFO"], told["QUERY_STRING"]) == ("/api", "/users x", "a=b%2Fc")
    assert told["HTTP_X_FORWARDED_PREFIX"] == "/api"
    told = site.told("/v1.0/users?a=b", host="shop.test", headers=[("X-Forwarded-Prefix", "/made-up")])
    assert (told["PATH_INFO"], told["QUERY_STRING"]) == ("/users", "a=b")
    assert told["HTTP_X_FORWARDED_PREFIX"] == "/v1.0"
    assert told["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"


def test_an_app_without_a_prefix_is_told_none_whatever_a_client_claims(site: Rendered) -> None:
    for target in ("/", "/exact"):
        told = site.told(target, host="shop.test", headers=[("X-Forwarded-Prefix", "/made-up")])
        assert "HTTP_X_FORWARDED_PREFIX" not in told


@pytest.mark.parametrize(
    ("target", "status", "to"),
    [
        ("/old/", 301, "/new/"),
        ("/old/a/b%20c?d=e%2F&f", 301, "/new/a/b%20c?d=e%2F&f"),
        ("/old/?a=b", 301, "/new/?a=b"),
        ("/gone/x", 308, "/x"),
        ("/search", 302, "/find?everywhere=1"),
        ("/search?q=x", 302, "/find?everywhere=1"),
        ("/docs/a?b", 301, "https://docs.example.com/a?b"),
        ("/de/old?x=1", 303, "/?x=1"),
    ],
)
def test_clients_are_sent_on_with_the_rest_of_the_path_and_the_query(
    site: Rendered, target: str, status: int, to: str
) -> None:
    answer = site.ask(target, host="shop.test")
    assert (answer.status, answer.header("location")) == (status, to)


def test_a_site_that_has_moved_sends_every_address_on(site: Rendered) -> None:
    answer = site.ask("/a/b%20c?d=e", host="www.shop.test")
    assert (answer.status, answer.header("location")) == (301, "https://shop.test/a/b%20c?d=e")


@pytest.mark.parametrize(
    "rest",
    ["/evil.example", "//evil.example", "\\evil.example", "/\\evil.example", "%2F/evil.example", "%0d%0aX-Evil:1"],
)
def test_no_redirect_leads_to_another_host_or_holds_a_line_break(site: Rendered, rest: str) -> None:
    answer = site.ask(f"/gone/{rest}", host="shop.test")
    location = answer.header("location")
    assert answer.status == 308
    assert location.startswith("/") and location[1:2] not in ("/", "\\"), location
    assert answer.header("x-evil") == ""


def test_a_file_beside_the_code_is_refused(tmp_path: Path) -> None:
    text = 'apps: {web: {entrypoint: web:app}}\nsites: {s: {locations: {/: web, "= /web.py": {files: web.py}}}}\n'
    with pytest.raises(SpecError, match="beside the app's own code"):
        Rendered(tmp_path, text, port=free_port())
