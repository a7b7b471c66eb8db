"""Which checks follow from which spec, on plans that the planner itself made."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploykit import converge, planner
from deploykit.plan import Check, Plan, SitePlan
from deploykit.promises import concrete, covers, route_of, size_text
from deploykit.proof import checks as vocabulary

SPEC = """
version: 1
name: shop
apps:
  web: {entrypoint: "web:app", instances: [{weight: 3}, {weight: 1}], healthcheck: /healthz}
  api: {entrypoint: "api:app", instances: 3, balance: ip_hash, body_size: 1m}
  one: {entrypoint: "one:app"}
sites:
  shop:
    server_name: [shop.example.com, "*.shop.example.com"]
    locations:
      /: web
      /api/: api
      /api/big/: {app: api, body_size: 20m}
      /static/: {files: static/, cache_control: immutable}
  one:
    locations: {/one/: one}
checks:
  - {get: /login, site: shop, contains: Sign in}
  - {get: /one/x, site: one, status: 204}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for name in ("web", "api", "one"):
        (tmp_path / f"{name}.py").write_text("app = None\n")
    (tmp_path / "deploykit.yaml").write_text(SPEC)
    spec, source = converge.read_spec(tmp_path / "deploykit.yaml")
    return converge.plan_spec(spec, source, tmp_path, planner.assumed_facts(spec), "process")


def of(plan: Plan, kind: str) -> list[Check]:
    return [check for check in plan.checks if check.kind == kind]


def test_each_check_is_of_a_kind_that_is_measured(plan: Plan) -> None:
    assert {check.kind for check in plan.checks} <= set(vocabulary.kinds())


def test_an_app_is_asked_by_its_probe_where_that_is_routed_to_it(plan: Plan) -> None:
    asked = {check.values["app"]: check.values["target"] for check in of(plan, "app_healthy")}
    assert asked == {"web": "/healthz", "api": "/api/", "one": "/one/"}


def test_weights_are_counted_over_whole_rounds(plan: Plan) -> None:
    (weights,) = of(plan, "weights")
    assert (weights.values["app"], weights.values["requests"]) == ("web", 40)
    assert weights.spec_path == ("apps", "web", "instances")


def test_one_instance_has_no_balance_to_measure(plan: Plan) -> None:
    kinds = {check.kind for check in plan.checks if check.values.get("app") == "one"}
    assert kinds == {"app_healthy", "instance_healthy", "site_answers"}


def test_clients_of_ip_hash_are_measured_and_its_weights_are_not(plan: Plan) -> None:
    assert {check.kind for check in plan.checks if check.values.get("app") == "api"} >= {"sticky", "spread"}
    assert len(of(plan, "weights")) == 1


def test_a_wildcard_is_asked_by_a_name_below_it(plan: Plan) -> None:
    names = of(plan, "site_answers")[0].values["names"]
    assert names == ["shop.example.com", "deploykit-check.shop.example.com", "shop.localhost"]


def test_each_route_of_an_app_has_its_own_body_limit(plan: Plan) -> None:
    limits = {check.values["target"]: check.values["bytes"] for check in of(plan, "body_limit")}
    assert limits == {"/": 10 << 20, "/api/": 1 << 20, "/api/big/": 20 << 20, "/one/": 10 << 20}


def test_only_what_makes_many_requests_is_load(plan: Plan) -> None:
    loads = {check.kind for check in plan.checks if check.effect != "read"}
    assert loads == {"weights", "sticky", "spread"}


def test_the_checks_of_a_spec_come_last_with_its_lines(plan: Plan) -> None:
    last = plan.checks[-2:]
    assert [check.spec_path for check in last] == [("checks", 0), ("checks", 1)]
    assert (last[1].values["host"], last[1].values["status"]) == ("one.localhost", 204)


def test_the_longest_path_answers_as_in_nginx(plan: Plan) -> None:
    shop = plan.sites[0]
    paths = {target: route_of(shop, target) for target in ("/", "/apix", "/api/", "/api/big/x?y=/z", "/st%61tic/a")}
    assert {target: route.path for target, route in paths.items() if route} == {
        "/": "/",
        "/apix": "/",
        "/api/": "/api/",
        "/api/big/x?y=/z": "/api/big/",
        "/st%61tic/a": "/static/",
    }


def test_a_wildcard_covers_names_below_it_and_not_itself() -> None:
    site = SitePlan("shop", ("*.shop.test", "localhost"), "", (), ())
    covered = [host for host in ("a.shop.test", "a.b.shop.test", "shop.test", "localhost") if covers(site, host)]
    assert covered == ["a.shop.test", "a.b.shop.test", "localhost"]
    assert concrete("*.shop.test") == "deploykit-check.shop.test"


def test_sizes_are_said_as_in_a_spec() -> None:
    assert [size_text(size) for size in (1000, 1024, 10 << 20, 3 << 30, 1 << 20)] == ["1000", "1k", "10m", "3g", "1m"]
