"""What `nginx -V` prints, as an NginxBuild: which version, and which modules work without loading anything."""

from __future__ import annotations

import re
import shlex

from deploykit.plan import NginxBuild

# What nginx's `auto/options` builds unless `--without-NAME_module` is given, with the version that brought it.
DEFAULT_MODULES: dict[str, tuple[int, int, int]] = {
    "http_charset": (0, 0, 0),
    "http_gzip": (0, 0, 0),
    "http_ssi": (0, 0, 0),
    "http_userid": (0, 0, 0),
    "http_access": (0, 0, 0),
    "http_auth_basic": (0, 0, 0),
    "http_mirror": (1, 13, 4),
    "http_autoindex": (0, 0, 0),
    "http_geo": (0, 0, 0),
    "http_map": (0, 0, 0),
    "http_split_clients": (0, 0, 0),
    "http_referer": (0, 0, 0),
    "http_rewrite": (0, 0, 0),
    "http_proxy": (0, 0, 0),
    "http_fastcgi": (0, 0, 0),
    "http_uwsgi": (0, 0, 0),
    "http_scgi": (0, 0, 0),
    "http_grpc": (1, 13, 10),
    "http_memcached": (0, 0, 0),
    "http_limit_conn": (0, 0, 0),
    "http_limit_req": (0, 0, 0),
    "http_empty_gif": (0, 0, 0),
    "http_browser": (0, 0, 0),
    "http_upstream_hash": (1, 7, 2),
    "http_upstream_ip_hash": (0, 0, 0),
    "http_upstream_least_conn": (1, 3, 1),
    "http_upstream_random": (1, 15, 1),
    "http_upstream_keepalive": (1, 1, 4),
    "http_upstream_zone": (1, 9, 0),
}

FEATURES = frozenset({"threads", "file-aio", "pcre-jit", "debug", "compat", "stream", "mail"})
"""Options of `configure` that are no modules by name and still say what a build can do."""


def parse_build(text: str, command: str = "nginx", loadable: tuple[str, ...] = ()) -> NginxBuild:
    """The build that this output of `nginx -V` describes; `command` is how it is started.

    A module that was built as `dynamic` is not among its modules: it would have to be loaded first, from `loadable`.

    Raises:
        ValueError: this is no such output.
    """
    found = re.search(r"nginx version: \S+?/(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        raise ValueError(f"`{command} -V` says no nginx version: {text.strip()[:200]!r}")
    version = (int(found[1]), int(found[2]), int(found[3]))
    modules = {name for name, since in DEFAULT_MODULES.items() if version >= since}
    for option in _options(text):
        if option == "--without-http":
            modules = {name for name in modules if not name.startswith("http_")}
        elif without := re.fullmatch(r"--without-(\w+)_module", option):
            modules.discard(without[1])
        elif within := re.fullmatch(r"--with-(\w+)_module", option):
            modules.add(within[1])
        elif (feature := option.removeprefix("--with-")) in FEATURES:
            modules.add(feature)
    return NginxBuild(version, frozenset(modules), command, tuple(sorted(loadable)))


def modules_folder(text: str) -> str:
    """The folder on the target in which that nginx has modules to load; empty where this output names none."""
    options = (option.partition("=") for option in _options(text))
    return next((value for name, _, value in options if name == "--modules-path" and value.startswith("/")), "")


def _options(text: str) -> list[str]:
    line = re.search(r"^configure arguments:(.*)$", text, re.MULTILINE)
    if line is None:
        return []
    try:
        return shlex.split(line[1])
    except ValueError:
        # A quote that is never closed: what can be split at blanks is better than nothing.
        return line[1].split()
