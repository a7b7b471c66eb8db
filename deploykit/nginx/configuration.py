"""From decided apps and sites to the files of nginx's configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from deploykit.plan import AppPlan, Facts, FilePlan, Layout, Route, SitePlan

CONNECTIONS = 4096
"""Per worker. 1,500 slow clients took all of the default 512 (measured); each costs well under a kilobyte."""

METHODS = {"round_robin": "", "random": "random two least_conn"}
"""The plan's word to nginx's directive where that is another; round robin is what nginx does without one."""

FAIR_MODULE = "ngx_http_upstream_fair_module.so"
FAIR_PACKAGE = "libnginx-mod-http-upstream-fair"
"""Debian's, with that file in it."""

MARKS = {"prefix": "", "exact": "= ", "regex": "~ ", "regex_any_case": "~* "}

MOST_CONNECT_SECONDS = 2
"""How long nginx tries to reach a member; one that is there takes a connection at once."""

RETRY_AFTER_SECONDS = 5
"""What clients are told to wait where no member answers: that long takes a member at most to be back."""

CACHE_HEADERS = {
    "immutable": '"public, max-age=31536000, immutable"',
    "hashed": "$dk_hashed",
    "no-cache": '"no-cache"',
    "no-store": '"no-store"',
}


def files(
    facts: Facts, layout: Layout, port: int, apps: tuple[AppPlan, ...], sites: tuple[SitePlan, ...]
) -> tuple[FilePlan, ...]:
    """nginx.conf and what it includes, below `nginx/`."""
    host = {
        "host_header": host_header(facts, port),
        "host_has_port": port not in (80, 443),
        "port": port,
    }
    longest = max(app.stop_grace_seconds for app in apps)
    connections = {
        "user": "root" if facts.user == "root" else "",
        "workers": min(facts.cpus, 16),
        "connections": CONNECTIONS,
        "rlimit": 2 * CONNECTIONS + 512,
        "shutdown_seconds": math.ceil(longest),
        "listen": layout.listen,
        "sites": [site.name for site in sites],
        "keeps_connections": any(_keeps_connections(app) for app in apps),
        "has_counters": "http_stub_status" in facts.nginx.modules,
        "load_modules": _load_modules(facts, apps),
    }
    reason = "every stack has nginx in front"
    return (
        FilePlan("nginx/nginx.conf", "nginx/nginx.conf.j2", connections, reason, ("listen",)),
        FilePlan("nginx/mime.types", "nginx/mime.types.j2", {}, "nginx packages differ in the types they know"),
        FilePlan("nginx/proxy.conf", "nginx/proxy.conf.j2", host, "what apps are told over HTTP"),
        FilePlan("nginx/uwsgi.conf", "nginx/uwsgi.conf.j2", host, "what apps are told over the uwsgi protocol"),
        FilePlan(
            "nginx/upstreams.conf",
            "nginx/upstreams.conf.j2",
            {"upstreams": [_upstream(app, facts) for app in apps]},
            "each app is an upstream, each instance a member",
            ("apps",),
        ),
        *(_site(site, layout, apps) for site in sites),
    )


def host_header(facts: Facts, port: int) -> str:
    """The Host that apps are told, which no client can choose freely.

    nginx 1.29.3 and later can tell the port that the client used. Before, `$http_host` would pass on anything in the
    header, and `$host` alone loses the port, which breaks Django's CSRF check; so the port is written out.
    """
    if facts.nginx.version >= (1, 29, 3):
        return "$host$is_request_port$request_port"
    return "$host" if port in (80, 443) else f"$host:{port}"


def _load_modules(facts: Facts, apps: tuple[AppPlan, ...]) -> list[str]:
    """Paths of what has to be loaded for these apps."""
    fair = facts.nginx.loads(FAIR_MODULE) if any(app.balance == "fair" for app in apps) else ""
    return [fair] if fair else []


def _upstream(app: AppPlan, facts: Facts) -> dict[str, object]:
    # A release is switched to by moving links, which open connections would not notice: they lead to the release
    # before until that is stopped, and its checks would be answered by it. With TCP nginx is reloaded anyway.
    keeps = _keeps_connections(app)
    return {
        "name": app.name,
        "method": METHODS.get(app.balance, app.balance),
        "hash_key": app.hash_key,
        "consistent": app.consistent,
        # The module of `fair` keeps the state of its members in a memory of its own, and refuses a zone.
        "has_zone": app.balance != "fair",
        "slots": [
            {
                "address": slot.address,
                "weight": slot.weight,
                "backup": slot.backup,
                "down": slot in app.vacant,
                "max_conns": slot.max_conns,
            }
            for slot in app.upstream
        ],
        # Twice the threads of an instance is more than its workers can hold busy.
        "keepalive": min(64, 2 * app.workers * app.threads * len(app.slots)) if keeps else 0,
        "keepalive_off": app.protocol == "http" and not keeps and facts.nginx.version >= (1, 29, 7),
    }


def _keeps_connections(app: AppPlan) -> bool:
    return app.protocol == "http" and app.socket == "tcp"


def _site(site: SitePlan, layout: Layout, apps: tuple[AppPlan, ...]) -> FilePlan:
    protocols = {app.name: app.protocol for app in apps}
    values = {
        "name": site.name,
        "listen": layout.listen,
        "server_names": list(site.server_names),
        "routes": [_route(route, protocols) for route in site.routes],
        "retry_after": RETRY_AFTER_SECONDS,
        "has_root": any(route.path == "/" and route.match == "prefix" for route in site.routes),
    }
    return FilePlan(f"nginx/sites/{site.name}.conf", "nginx/site.conf.j2", values, f"site {site.name}", site.spec_path)


def _route(route: Route, protocols: Mapping[str, str]) -> dict[str, object]:
    from urllib.parse import unquote

    # nginx matches locations against the decoded path.
    path = unquote(route.path) if route.askable else route.path
    common = {"mark": MARKS[route.match], "path": path}
    if route.redirect:
        return {
            **common,
            "kind": "redirect",
            "status": route.status,
            "to": route.redirect,
            # Of the address as it came: what nginx has decoded could hold a line break. A rest that begins with a
            # slash of either kind could make the redirect lead to another host.
            "rest": f"^{re.escape(route.path.rstrip('/'))}/+(?<dk_rest>[^/\\\\].*)$" if route.keeps_rest else "",
            "keeps_query": not {"?", "#"} & set(route.redirect),
        }
    if route.folder:
        cache = route.cache_control
        header = CACHE_HEADERS.get(cache, f'"public, {cache}"')
        sandbox = route.folder.startswith("volumes/")
        return {
            **common,
            "kind": "files" if route.folder.endswith("/") else "file",
            # Images of a folder are not taken over by `~ \.png$` of an app.
            "mark": "^~ " if route.match == "prefix" else MARKS[route.match],
            "folder": route.directory,
            "file": route.folder.rpartition("/")[2],
            "cache_header": header,
            "sandbox": sandbox,
            "previous": route.previous_folder,
            # No location of a spec has two slashes in a row.
            "previous_path": f"/previous/{path}",
            "only_hashed": cache == "hashed",
        }
    read_seconds = math.ceil(route.timeout_seconds)
    uwsgi = protocols[route.app] == "uwsgi"
    return {
        **common,
        "kind": "app",
        "prefix": path.rstrip("/") if route.strips_prefix else "",
        "after_prefix": f"^{re.escape(path.rstrip('/'))}(/.*)$",
        "directive": "uwsgi" if uwsgi else "proxy",
        "target": route.app if uwsgi else f"http://{route.app}",
        "read_seconds": read_seconds,
        "connect_seconds": min(MOST_CONNECT_SECONDS, read_seconds),
        # More than one wait for an answer, so that a member that hangs fails nobody's GET; less than two of them, so
        # that no request is tried a third time after two that hang.
        "retry_milliseconds": round(1000 * (read_seconds + min(5.0, read_seconds / 2))),
        "body_bytes": route.body_bytes,
    }
