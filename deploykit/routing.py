"""Which site answers which name, and what is below which path: the spec's sites, or the default without any."""

from __future__ import annotations

import posixpath

from deploykit import frameworks
from deploykit.errors import Problem
from deploykit.plan import Match, Route, SitePlan, SpecPath, is_loopback
from deploykit.spec.model import Location, Site, Spec
from deploykit.spec.rules import location_words

Listings = dict[str, tuple[str, ...]]


def plan_sites(
    spec: Spec, listings: object, problems: list[Problem], local: bool, engine_host: str = ""
) -> tuple[SitePlan, ...]:
    """Every site with its names and routes; adds to `problems` what can't be.

    With `local` a stack's only site also answers on `localhost`; with several, each on `SITE.localhost`. On an Engine
    elsewhere (`engine_host`) an only site that is open to other machines answers to the name of that one too.
    """
    files: dict[str, tuple[str, ...]] = dict(listings)  # type: ignore[call-overload]
    sites = spec.sites or {spec.name: _default_site(spec, files)}
    plans = []
    for name, site in sites.items():
        here = "localhost" if len(sites) == 1 else f"{name}.localhost"
        port = "" if spec.listen.port == 80 else f":{spec.listen.port}"
        at = f"sites.{name}.locations"
        routes = tuple(
            _route(spec, f"{at}.{path}", path, location, problems) for path, location in site.locations.items()
        )
        spec_path = ("sites", name) if spec.sites else ("apps", next(iter(spec.apps)))
        if site.redirect is not None:
            routes = (_redirect("/", "prefix", f"{site.redirect}/", 301, (*spec_path, "redirect")),)
        names = tuple(dict.fromkeys((*site.server_name, here))) if local else site.server_name
        host = here if local else next(known for known in names if not known.startswith("*"))
        if local and len(sites) == 1 and engine_host and not is_loopback(spec.listen.host):
            host = f"[{engine_host}]" if ":" in engine_host else engine_host
            names = tuple(dict.fromkeys((*names, host)))
        plans.append(SitePlan(name, names, f"http://{host}{port}", routes, spec_path))
    return tuple(plans)


def _default_site(spec: Spec, files: dict[str, tuple[str, ...]]) -> Site:
    name, app = next(iter(spec.apps.items()))
    locations = {"/": Location(app=name)}  # type: ignore[call-arg]
    driver = frameworks.REGISTRY.get(app.framework or "wsgi")
    for path, folder in driver.default_static(files.get(name, ()), app.entrypoint):
        locations[path] = Location(files=posixpath.normpath(posixpath.join(app.source, folder)))  # type: ignore[call-arg]
    return Site(locations=locations)  # type: ignore[call-arg]


MATCHES: dict[str, Match] = {"": "prefix", "=": "exact", "~": "regex", "~*": "regex_any_case"}


def _redirect(path: str, match: Match, target: str, status: int, spec_path: SpecPath) -> Route:
    keeps_rest = match == "prefix" and path.endswith("/") and target.endswith("/") and not {"?", "#"} & set(target)
    return Route(
        path, "", "", "", 0.0, 0, spec_path, match=match, redirect=target, status=status, keeps_rest=keeps_rest
    )


def _route(spec: Spec, at: str, key: str, location: Location, problems: list[Problem]) -> Route:
    spec_path = ("sites", at.split(".", 2)[1], "locations", key) if spec.sites else ("apps", next(iter(spec.apps)))
    mark, path = location_words(key)
    match = MATCHES[mark]
    if location.redirect is not None:
        return _redirect(path, match, location.redirect, location.status or 301, spec_path)
    if location.files is not None:
        app, folder = _folder(spec, at, location.files, problems)
        if match == "exact":
            if posixpath.dirname(folder.rstrip("/")).endswith("/code"):
                said = "is beside the app's own code, which nginx does not see"
                problems.append(Problem(f"{at}.files", said, "move it to a folder of static files"))
            return Route(path, app, folder.rstrip("/"), _cache(location.cache_control), 0.0, 0, spec_path, match=match)
        if not path.endswith("/"):
            problems.append(Problem(at, "should end in `/`, because it is a folder", f"write `{path}/`"))
        if "$" in location.files:
            problems.append(Problem(f"{at}.files", "should not contain `$`, which nginx would expand"))
        return Route(path, app, folder, _cache(location.cache_control), 0.0, 0, spec_path)
    name = location.app or next(iter(spec.apps))
    app_spec = spec.apps[name]
    return Route(
        path=path,
        app=name,
        folder="",
        cache_control="",
        timeout_seconds=location.timeout or app_spec.timeout,
        body_bytes=location.body_size or app_spec.body_size,
        spec_path=spec_path,
        match=match,
        strips_prefix=location.strip_prefix,
    )


def _cache(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"max-age={int(value)}"
    return value or "no-cache"


def _folder(spec: Spec, at: str, files: str, problems: list[Problem]) -> tuple[str, str]:
    """The app that a folder belongs to, and where nginx finds it: in the app's volume, or in its current release."""
    wanted = posixpath.normpath(files)
    owners = []
    for name, app in spec.apps.items():
        source = posixpath.normpath(app.source)
        if source == ".":
            owners.append((0, name, wanted))
        elif wanted == source or wanted.startswith(source + "/"):
            owners.append((len(source), name, posixpath.relpath(wanted, source)))
    if not owners:
        problems.append(
            Problem(f"{at}.files", f"`{files}` is not in the source of any app", "move it, or widen `source`")
        )
        return next(iter(spec.apps)), "releases/"
    _, name, inside = max(owners, key=lambda owner: owner[0])
    if inside == ".":
        problems.append(
            Problem(
                f"{at}.files", "would serve the app's own code and settings", "name the folder with the static files"
            )
        )
    for volume, path in spec.apps[name].volumes.items():
        root = posixpath.normpath(path)
        if inside == root or inside.startswith(root + "/"):
            rest = "" if inside == root else posixpath.relpath(inside, root) + "/"
            return name, f"volumes/{name}/{volume}/{rest}"
    return name, f"releases/{name}/current/code/{inside}/"
