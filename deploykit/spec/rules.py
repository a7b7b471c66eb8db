"""Rules across the fields of a spec that need no facts: what is named is there, what excludes itself is not.

Reads nothing but its arguments, and takes time in proportion to the spec's length.
"""

from __future__ import annotations

import posixpath
import re
import urllib.parse
from collections.abc import Iterator, Sequence

from deploykit.spec.model import App, Location, Spec
from deploykit.spec.values import control_character, duration_words
from deploykit.spec.words import SpecPath, did_you_mean, listed, path_words

Found = tuple[SpecPath, str, str]
"""Path, message and hint of what is wrong."""

GENERATION_HOST = "deploykit.invalid"
"""The name under which nginx tells its generation."""


def check(
    spec: Spec, app_servers: Sequence[str] | None, frameworks: Sequence[str] | None, public: bool = False
) -> Iterator[Found]:
    """Everything that breaks a rule; the names of drivers are checked where they are given.

    `public` says that the environment is not `local`: there a site needs a name of its own.
    """
    if public:
        yield from _public_names(spec)
    yield from _sites(spec)
    yield from _server_names(spec)
    yield from _checks(spec)
    longest = _longest_timeouts(spec)
    for name, app in spec.apps.items():
        at: SpecPath = ("apps", name)
        yield from _driver((*at, "app_server", "type"), app.app_server.type, app_servers, "app server")
        if app.framework is not None:
            yield from _driver((*at, "framework"), app.framework, frameworks, "framework")
        if app.healthcheck is not None and (app.healthcheck.host or "").startswith("*"):
            yield (*at, "healthcheck", "host"), "should be one name, without `*`", ""
        yield from _balance(at, app)
        yield from _environment(at, app)
        yield from _volumes(at, app)
        seconds, where = longest[name]
        if app.stop_grace_period is not None and app.stop_grace_period < seconds:
            rule = f"should be at least {duration_words(seconds)}, as `{path_words(where)}` is"
            yield (*at, "stop_grace_period"), f"{rule}: a stop would cut requests off", ""


def _driver(at: SpecPath, name: str, names: Sequence[str] | None, what: str) -> Iterator[Found]:
    if names is not None and name not in names:
        yield at, f"there is no {what} `{name}`", did_you_mean(name, names) or f"there is {listed(names)}"


def _sites(spec: Spec) -> Iterator[Found]:
    if not spec.sites and len(spec.apps) > 1:
        first = next(iter(spec.apps))
        hint = f"add `sites: {{{spec.name}: {{locations: {{/: {first}}}}}}}`, and a location for each other app"
        yield ("sites",), "is missing; with several apps it says which one answers where", hint
    for name, site in spec.sites.items():
        seen: dict[str, str] = {}
        if bool(site.locations) == (site.redirect is not None):
            both = "should have either `locations` or `redirect`, not both"
            yield ("sites", name), both if site.locations else "needs `locations` (or `redirect`)", ""
        for key, location in site.locations.items():
            at: SpecPath = ("sites", name, "locations", key)
            yield from _location(at, location, spec)
            mark, path = location_words(key)
            if mark.startswith("~"):
                yield from _of_regex(at, location)
            else:
                yield from _url_path(at, path, seen, mark)


def _location(at: SpecPath, location: Location, spec: Spec) -> Iterator[Found]:
    kinds = [key for key in ("app", "files", "redirect") if getattr(location, key) is not None]
    if not kinds:
        yield at, "needs `app`, `files` or `redirect`", ""
        return
    if len(kinds) > 1:
        yield at, f"should have only one of `{'` and `'.join(kinds)}`", ""
        return
    if location.redirect is None and location.status is not None:
        yield (*at, "status"), "goes with `redirect` only", ""
    if location.strip_prefix:
        if location.app is None:
            yield (*at, "strip_prefix"), "goes with `app` only", ""
        elif not (str(at[-1]).startswith("/") and str(at[-1]).endswith("/")):
            yield (*at, "strip_prefix"), "needs a path that ends in `/`", ""
    if location.app is not None:
        if location.cache_control is not None:
            yield (*at, "cache_control"), "goes with `files` only; an app sets its own headers", ""
        if location.app not in spec.apps:
            yield (*at, "app"), f"there is no app `{location.app}`", did_you_mean(location.app, spec.apps)
    else:
        what = "files are sent as they are" if location.files else "nothing is asked for a redirect"
        for key in ("timeout", "body_size"):
            if getattr(location, key) is not None:
                yield (*at, key), f"goes with `app` only; {what}", ""
        if location.redirect is not None and location.cache_control is not None:
            yield (*at, "cache_control"), "goes with `files` only", ""


def location_words(key: str) -> tuple[str, str]:
    """The mark of a location (`` for a prefix, `=`, `~` or `~*`) and its path or regular expression."""
    return ("", key) if key.startswith("/") else (key.partition(" ")[0], key.partition(" ")[2])


def _of_regex(at: SpecPath, location: Location) -> Iterator[Found]:
    if location.files is not None:
        yield (*at, "files"), "needs a path: a regular expression names no folder", ""


def _url_path(at: SpecPath, path: str, seen: dict[str, str], mark: str = "") -> Iterator[Found]:
    """nginx compares with the decoded path, without `.`, `..` and doubled slashes."""
    broken = re.search(r"%(?![0-9A-Fa-f]{2}).{0,2}", path)
    if broken:
        yield at, f"should have two hex digits after each `%`, not `{broken[0]}`", "`%` itself is `%25`"
        return
    decoded = urllib.parse.unquote(path, errors="surrogateescape")
    if "�" in decoded or control_character(decoded):
        yield at, "should be UTF-8 without control characters once it is decoded", ""
    elif "//" in decoded or {".", ".."} & set(decoded.split("/")):
        plain = posixpath.normpath(decoded.replace("//", "/")) + ("/" if decoded.endswith("/") else "")
        hint = f"write `{urllib.parse.quote(plain.replace('//', '/'))}`"
        yield at, "should have no `//`, `.` or `..` in it: no request gets there", hint
    elif mark + decoded in seen:
        yield at, f"is the same as `{seen[mark + decoded]}`", ""
    seen.setdefault(mark + decoded, path)


def _server_names(spec: Spec) -> Iterator[Found]:
    several = len(spec.sites) > 1
    owners: dict[str, tuple[str, str]] = {f"{name}.localhost": (name, "") for name in spec.sites} if several else {}
    for name, site in spec.sites.items():
        for number, server_name in enumerate(site.server_name):
            at: SpecPath = ("sites", name, "server_name", number)
            owner, other = owners.setdefault(server_name, (name, path_words(at)))
            if server_name == GENERATION_HOST:
                yield at, f"`{GENERATION_HOST}` is deploykit's own", ""
            elif owner != name and not other:
                yield at, f"`{server_name}` is where the site `{owner}` answers on this machine", ""
            elif other not in ("", path_words(at)):
                yield at, f"`{server_name}` is a name of `sites.{owner}` already", ""


def _public_names(spec: Spec) -> Iterator[Found]:
    if spec.name.endswith("-"):
        yield ("name",), "should not end in `-`: what is named after it and an environment could not be", ""
    why = "outside of `local` no site answers on `localhost`"
    if not spec.sites:
        first = next(iter(spec.apps))
        one = f"{{server_name: {spec.name}.example.com, locations: {{/: {first}}}}}"
        yield ("sites",), f"is missing; {why}", f"add `sites: {{{spec.name}: {one}}}` with its real name"
    for name, site in spec.sites.items():
        at: SpecPath = ("sites", name, "server_name")
        if not site.server_name:
            hint = f"add `sites: {{{name}: {{server_name: {name}.example.com}}}}` to it, with its real name"
            yield at, f"is missing; {why}", hint
        elif all(server_name.startswith("*") for server_name in site.server_name):
            yield at, "should have a name without `*`, at which the site can be asked", ""


def _checks(spec: Spec) -> Iterator[Found]:
    for number, user_check in enumerate(spec.checks):
        at: SpecPath = ("checks", number)
        if user_check.site is None:
            if len(spec.sites) > 1:
                yield at, "needs `site`, as there are several", f"it is {listed(spec.sites)}"
        elif user_check.site not in spec.sites:
            hint = did_you_mean(user_check.site, spec.sites)
            if not spec.sites:
                hint = "leave it out: there is only one site"
            yield (*at, "site"), f"there is no site `{user_check.site}`", hint


def _balance(at: SpecPath, app: App) -> Iterator[Found]:
    """What nginx refuses, or takes and then ignores: measured on 1.22 to 1.31."""
    balance, where = app.balance, (*at, "balance")
    if (balance.method is None) == (balance.hash is None):
        both = "should have either `method` or `hash`, not both" if balance.hash else "needs `method` or `hash`"
        yield where, both, ""
        return
    method = balance.method or "hash"
    if balance.consistent and method not in ("hash", "url_hash"):
        yield (*where, "consistent"), f"goes with `hash` and `url_hash` only; {method} has no keys", ""
    running = [instance for instance in app.instances if not instance.down]
    if all(instance.backup for instance in running):
        why = "a backup waits for others to fail" if running else "nothing would answer"
        yield (*at, "instances"), f"needs at least one that is neither `down` nor `backup`: {why}", ""
    for number, instance in enumerate(app.instances):
        place: SpecPath = (*at, "instances", number)
        if instance.backup and instance.down:
            yield place, "should be either `backup` or `down`", ""
        elif instance.backup and method not in ("round_robin", "least_conn"):
            hint = "use `least_conn`, or leave `backup` out: where a member fails, the others take its requests anyway"
            yield (*place, "backup"), f"nginx has no backups with {method}", hint
        if method == "fair" and instance.weight != 1:
            yield (*place, "weight"), "is ignored by `fair`, which looks at how busy each one is", "use `least_conn`"
        if method == "fair" and instance.max_conns is not None:
            yield (*place, "max_conns"), "is ignored by `fair`", "use `least_conn`"


def _environment(at: SpecPath, app: App) -> Iterator[Found]:
    for table in ("environment", "secrets"):
        for key in getattr(app, table):
            if key.startswith("DEPLOYKIT_"):
                yield (*at, table, key), "should not begin with `DEPLOYKIT_`, which deploykit sets itself", ""
    for key, secret in app.secrets.items():
        if key in app.environment:
            yield (*at, "secrets", key), "is in `environment` as well", "remove one of them"
        origins = sum(origin is not None for origin in (secret.env, secret.file, secret.command))
        if origins == 0:
            yield (*at, "secrets", key), "needs `env`, `file` or `command`", ""
        elif origins > 1:
            hint = "an environment that takes it from elsewhere removes the other with null, as in `env: null`"
            yield (*at, "secrets", key), "should have one of `env`, `file` and `command`, not several", hint


def _volumes(at: SpecPath, app: App) -> Iterator[Found]:
    folders = {name: posixpath.normpath(path) for name, path in app.volumes.items()}
    for name, folder in folders.items():
        if folder == ".":
            yield (*at, "volumes", name), "should be a folder in the source, not the source itself", ""
    seen: dict[str, str] = {}
    for name, folder in sorted(folders.items(), key=lambda item: item[1].split("/")):
        parts = folder.split("/")
        for depth in range(1, len(parts) + 1):
            owner = seen.get("/".join(parts[:depth]))
            if owner is not None:
                yield (*at, "volumes", name), f"overlaps with the volume `{owner}`", "give each a folder of its own"
                break
        seen.setdefault(folder, name)


def _longest_timeouts(spec: Spec) -> dict[str, tuple[float, SpecPath]]:
    """App name to the longest time that one of its requests may take, in seconds, and what says so."""
    longest: dict[str, tuple[float, SpecPath]] = {
        name: (app.timeout, ("apps", name, "timeout")) for name, app in spec.apps.items()
    }
    for name, site in spec.sites.items():
        for path, location in site.locations.items():
            seconds, app = location.timeout, location.app
            if app in longest and seconds is not None and seconds > longest[app][0]:
                longest[app] = (seconds, ("sites", name, "locations", path, "timeout"))
    return longest
