"""What a stack promises, as checks that can be measured: from decided apps and sites alone, nothing is measured here.

Each check's `kind` is a function of `proof.checks`; its `values` are what that function needs, plain data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from urllib.parse import unquote

from deploykit.plan import AppPlan, Check, Route, SitePlan
from deploykit.spec.model import Spec

LEAST_REQUESTS = 40
"""How many requests the spread over members is measured with at least; rounded up to whole rounds of the weights."""

SPREAD_CLIENTS = 60
"""How many client networks the spread of `ip_hash` is measured with at least."""

STICKY_CLIENTS = 20
"""How many client networks come again and again."""

MADE_UP = "deploykit-check"
"""Stands for `*` where a wildcard name is asked for."""


def promises(apps: tuple[AppPlan, ...], sites: tuple[SitePlan, ...], spec: Spec) -> tuple[Check, ...]:
    """Every check that the spec implies, in the order of the spec, then its own."""
    checks = [Check("nginx_accepts", "nginx accepts its files and runs exactly them", (), "read")]
    for app in apps:
        checks += _of_app(app, sites)
    for site in sites:
        checks.append(_site_answers(site))
        for route in site.routes:
            checks += _of_route(site, route, apps)
    names = [name for site in sites for name in site.server_names]
    checks.append(
        Check("unknown_host_refused", "a Host that no site has is refused", ("listen",), "read", {"names": names})
    )
    checks.append(Check("listens", f"nothing listens but nginx on {spec.listen}", ("listen",), "read"))
    checks.append(Check("process_user", "each process runs as the user it should", (), "read"))
    checks.append(Check("config_private", "configs can't be written and secrets not read by others", (), "read"))
    checks += _of_user(sites, apps, spec)
    return tuple(checks)


# --- names and paths to ask for --------------------------------------------------------------------------------------


def concrete(name: str) -> str:
    """A host name that the server name stands for."""
    return f"{MADE_UP}.{name.removeprefix('*.')}" if name.startswith("*.") else name


def covers(site: SitePlan, host: str) -> bool:
    """Whether the site answers on that host."""
    return any(host == name or (name[:1] == "*" and host.endswith(name[1:])) for name in site.server_names)


def route_of(site: SitePlan, target: str) -> Route | None:
    """The route that answers that target, as nginx picks locations: files are not taken over by a regex."""
    path = unquote(target.partition("?")[0])
    alone = next((route for route in site.routes if route.match == "exact" and path == unquote(route.path)), None)
    below = [route for route in site.routes if route.match == "prefix" and path.startswith(unquote(route.path))]
    longest = max(below, key=lambda route: len(unquote(route.path)), default=None)
    if alone is not None or (longest is not None and longest.folder):
        return alone or longest
    return next((route for route in site.routes if _finds(route, path)), longest)


def _finds(route: Route, path: str) -> bool:
    flags = {"regex": 0, "regex_any_case": re.IGNORECASE}
    return route.match in flags and re.search(route.path, path, flags[route.match]) is not None


def _host(site: SitePlan, apps: tuple[AppPlan, ...]) -> str:
    """The name the site is asked by: the one that an app's probe uses, which the app is sure to know."""
    names = {route.app for route in site.routes}
    hosts = (app.probe.host for app in apps if app.name in names)
    return next((host for host in hosts if "*" not in host and covers(site, host)), concrete(site.server_names[0]))


def _through_nginx(app: AppPlan, sites: tuple[SitePlan, ...]) -> dict[str, object] | None:
    """How the app is reached through nginx: by its probe where that is routed to it, else at its first route."""
    for site in sites:
        route = route_of(site, app.probe.path)
        if route is not None and route.app == app.name and not route.folder:
            low, high = app.probe.statuses
            return {
                "app": app.name,
                "host": _host(site, (app,)),
                "target": app.probe.path,
                "lowest": low,
                "highest": high,
                "contains": app.probe.contains,
            }
    for site in sites:
        for route in site.routes:
            if route.app == app.name and not route.folder and route.askable:
                host = _host(site, (app,))
                return {
                    "app": app.name,
                    "host": host,
                    "target": route.path,
                    "lowest": 200,
                    "highest": 499,
                    "contains": "",
                }
    return None


# --- apps ------------------------------------------------------------------------------------------------------------


def _of_app(app: AppPlan, sites: tuple[SitePlan, ...]) -> Iterator[Check]:
    way = _through_nginx(app, sites)
    health = (*app.spec_path, "healthcheck")
    if way is not None:
        asked = {**way, "retries": app.probe.retries, "timeout_seconds": app.probe.timeout_seconds + 1}
        yield Check("app_healthy", f"{app.name} is healthy: GET {way['target']}", health, "read", asked)
    each = "the instance" if len(app.slots) == 1 else "each instance"
    promise = f"{each} of {app.name} is healthy by itself"
    yield Check("instance_healthy", promise, health, "read", {"app": app.name, "retries": app.probe.retries})
    if way is not None and len(app.slots) > 1:
        yield from _of_balance(app, {key: way[key] for key in ("app", "host", "target")})


def _of_balance(app: AppPlan, way: dict[str, object]) -> Iterator[Check]:
    at = (*app.spec_path, "balance")
    if app.balance == "ip_hash":
        few = {**way, "clients": STICKY_CLIENTS, "times": 3}
        yield Check("sticky", f"{app.name}: a client stays with its member", at, "load", few)
        many = {**way, "clients": max(SPREAD_CLIENTS, 10 * len(app.slots))}
        yield Check("spread", f"{app.name}: clients are spread as ip_hash says", at, "load", many)
        return
    weights = [slot.weight for slot in app.slots if not slot.backup]
    unused = ", backup none" if len(weights) < len(app.slots) else ""
    # So many that a member with the smallest weight is missed by chance once in a million runs.
    by_chance = math.ceil(14 * sum(weights) / min(weights))
    if app.balance == "hash":
        # With `consistent` a member may get half of its share.
        keys = max(LEAST_REQUESTS, by_chance * (2 if app.consistent else 1))
        values = {**way, "key": app.hash_key, "keys": keys, "times": 3}
        yield Check("hashed", f"{app.name}: requests of one {app.hash_key} stay with one member", at, "load", values)
        return
    # With all weights divided by what they share, nginx takes the same turns.
    turns = sum(weights) // math.gcd(*weights)
    values = {**way, "requests": turns * math.ceil(LEAST_REQUESTS / turns)}
    if app.balance == "round_robin":
        promise = f"{app.name}: weights {':'.join(str(weight) for weight in weights)}{unused}"
        yield Check("weights", promise, (*app.spec_path, "instances"), "load", values)
        return
    if app.balance == "random":
        values["requests"] = max(LEAST_REQUESTS, by_chance)
    promise = f"{app.name}: {app.balance} reaches every member{unused}"
    yield Check("reached", promise, at, "load", values)


# --- sites -----------------------------------------------------------------------------------------------------------


def _site_answers(site: SitePlan) -> Check:
    # Where there are only regular expressions, nginx itself answers for the rest.
    askable = [route for route in site.routes if route.askable]
    first = next((route for route in askable if route.path == "/"), askable[0] if askable else None)
    values = {
        "names": [concrete(name) for name in site.server_names],
        "target": first.path if first else "/",
        "app": first.app if first and not first.folder else "",
        "timeout_seconds": (first.timeout_seconds if first else 0.0) or 10.0,
    }
    names = ", ".join(site.server_names)
    return Check("site_answers", f"{site.name} answers as {names}", site.spec_path, "read", values)


def _of_route(site: SitePlan, route: Route, apps: tuple[AppPlan, ...]) -> Iterator[Check]:
    if not route.askable:
        return
    if route.redirect:
        yield _redirects(site, route)
    elif route.folder.endswith("/"):
        yield from _of_files(site, route)
    elif route.folder:
        yield _one_file(site, route)
    else:
        yield _body_limit(site, route, apps)


def _redirects(site: SitePlan, route: Route) -> Check:
    rest = f"{MADE_UP}?a=b" if route.keeps_rest else "?a=b"
    joined = "&" if "?" in route.redirect else "?"
    to = f"{route.redirect}{rest}" if route.keeps_rest else f"{route.redirect}{joined}a=b"
    values = {"host": concrete(site.server_names[0]), "target": route.path + rest, "status": route.status, "to": to}
    return Check("redirects", f"{route.path} leads to {route.redirect}", route.spec_path, "read", values)


def _one_file(site: SitePlan, route: Route) -> Check:
    values = {
        "host": concrete(site.server_names[0]),
        "path": route.path,
        "cache_control": route.cache_control,
        "sandbox": route.folder.startswith("volumes/"),
    }
    promise = f"{route.path} from nginx, {route.cache_control}"
    return Check("file_from_nginx", promise, route.spec_path, "read", values)


def _of_files(site: SitePlan, route: Route) -> Iterator[Check]:
    values = {
        "app": route.app,
        "host": concrete(site.server_names[0]),
        "path": route.path,
        "folder": route.folder,
        "previous_folder": route.previous_folder,
        "cache_control": route.cache_control,
        # What users uploaded may not run scripts in the site's name.
        "sandbox": route.folder.startswith("volumes/"),
    }
    promise = f"{route.path} from nginx, {route.cache_control}"
    yield Check("static_from_nginx", promise, route.spec_path, "read", values)
    yield Check("static_confined", f"{route.path} stays inside its folder", route.spec_path, "read", values)


def _body_limit(site: SitePlan, route: Route, apps: tuple[AppPlan, ...]) -> Check:
    below = "" if route.path == "/" else f" below {route.path}"
    values = {"host": _host(site, apps), "target": route.path, "bytes": route.body_bytes}
    return Check("body_limit", f"413 above {size_text(route.body_bytes)}{below}", route.spec_path, "read", values)


def size_text(size: int) -> str:
    """Bytes as a spec would say them, such as `10m`."""
    for unit, shift in (("g", 30), ("m", 20), ("k", 10)):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift}{unit}"
    return str(size)


# --- the spec's own checks -------------------------------------------------------------------------------------------


def _of_user(sites: tuple[SitePlan, ...], apps: tuple[AppPlan, ...], spec: Spec) -> Iterator[Check]:
    for number, check in enumerate(spec.checks):
        site = next((site for site in sites if site.name == check.site), sites[0])
        route = route_of(site, check.get)
        values = {
            "host": _host(site, apps),
            "target": check.get,
            "status": check.status,
            "contains": check.contains or "",
            "timeout_seconds": (route.timeout_seconds if route else 0.0) or 10.0,
        }
        said = f" with `{check.contains}`" if check.contains else ""
        yield Check("user_check", f"GET {check.get}: {check.status}{said}", ("checks", number), "read", values)
