"""Which URL paths a project answers, as far as its syntax tells: enough to find the one that health checks ask."""

from __future__ import annotations

import ast

from deploykit.detection import Finding
from deploykit.detection.syntax import Module, Sources, keyword, text_of

HEALTH_NAMES = ("healthz", "health", "livez", "readyz", "up", "ping", "status")
"""The last part of a path that is made for health checks, the likeliest first."""

_ROUTE_METHODS = {"route", "get"}
DEEPEST_INCLUDE = 5
_HEALTH_CHECK = " (django-health-check)"


def health_route(modules: tuple[Module, ...]) -> Finding | None:
    """The path of a health check among decorated functions (`@app.route("/healthz")`) and `add_url_rule`."""
    prefixes = _blueprint_prefixes(modules)
    found: list[Finding] = []
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef):
                calls = [item for item in node.decorator_list if isinstance(item, ast.Call)]
                names = _ROUTE_METHODS
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                calls, names = [node.value], {"add_url_rule"}
            else:
                continue
            for call in calls:
                path = _route_path(call, names, prefixes)
                if path is not None:
                    found.append(Finding(path, module.seen(call)))
    return likeliest(found)


def likeliest(found: list[Finding]) -> Finding | None:
    """The path that is most likely made for health checks; None where none is."""
    named = [(rank(finding.value), finding) for finding in found if rank(finding.value) is not None]
    return min(named, key=lambda item: item[0] or 0)[1] if named else None


def rank(path: str) -> int | None:
    """The place of a path in `HEALTH_NAMES`, None where it is none of them or takes parameters."""
    parts = [part for part in path.strip("/").split("/") if part]
    if not parts or any(character in path for character in "<>{}()[]*?\\ ") or len(parts) > 3:
        return None
    return HEALTH_NAMES.index(parts[-1]) if parts[-1] in HEALTH_NAMES else None


def _route_path(call: ast.Call, names: set[str], prefixes: dict[str, str]) -> str | None:
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in names or not call.args:
        return None
    rule = text_of(call.args[0])
    methods = keyword(call, "methods")
    if isinstance(methods, ast.List | ast.Tuple | ast.Set) and "GET" not in map(text_of, methods.elts):
        return None
    if rule is None:
        return None
    owner = call.func.value
    name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
    return prefixes.get(name, "").rstrip("/") + rule


def _blueprint_prefixes(modules: tuple[Module, ...]) -> dict[str, str]:
    """Name of each blueprint to the path that it is registered below; the registration beats the blueprint's own."""
    own: dict[str, str] = {}
    registered: dict[str, str] = {}
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                prefix = text_of(keyword(node.value, "url_prefix"))
                if prefix is not None and module.qualified(node.value.func).endswith("Blueprint"):
                    own |= {target.id: prefix for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
                prefix = text_of(keyword(node, "url_prefix"))
                if prefix is not None and node.func.attr == "register_blueprint":
                    name = module.qualified(node.args[0]).rpartition(".")[2]
                    registered[name] = prefix
    return own | registered


def health_url(sources: Sources, module: Module, folder: str) -> Finding | None:
    """The path of a health check among Django's URL patterns, through `include`."""
    found: list[Finding] = []
    _collect(sources, module, folder, "/", found, 0)
    named = next((finding for finding in found if finding.seen.endswith(_HEALTH_CHECK)), None)
    return named or likeliest(found)


def _collect(sources: Sources, module: Module, folder: str, prefix: str, found: list[Finding], depth: int) -> None:
    for call in _patterns(module):
        kind = module.qualified(call.func).rpartition(".")[2]
        route = text_of(call.args[0])
        if route is None:
            continue
        if kind in ("re_path", "url"):
            route = route.removeprefix("^").removesuffix("$").replace("\\.", ".").replace("/?", "/")
        path = prefix + route.lstrip("/")
        view = call.args[1] if len(call.args) > 1 else None
        included = _included(view, module)
        if included == "health_check.urls":
            found.append(Finding(path if path.endswith("/") else path + "/", module.seen(call) + _HEALTH_CHECK))
        elif isinstance(view, ast.Call) and module.qualified(view.func).rpartition(".")[2] == "include":
            inside = sources.find(included, folder) if included else None
            if inside is not None and depth < DEEPEST_INCLUDE:
                _collect(sources, inside, folder, path, found, depth + 1)
        else:
            found.append(Finding(path, module.seen(call)))


def _patterns(module: Module) -> list[ast.Call]:
    """The `path(...)` calls of a urls module, without those whose path has a language in front."""
    skipped: set[int] = set()
    calls: list[ast.Call] = []
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        kind = module.qualified(node.func).rpartition(".")[2]
        if kind == "i18n_patterns":
            skipped |= {id(inner) for inner in ast.walk(node)}
        elif kind in ("path", "re_path", "url") and node.args and id(node) not in skipped:
            calls.append(node)
    return calls


def _included(view: ast.expr | None, module: Module) -> str:
    """The dotted name in `include("shop.urls")`, also as `include(("shop.urls", "shop"))` or an imported module."""
    if not isinstance(view, ast.Call) or not view.args:
        return ""
    what = view.args[0]
    if isinstance(what, ast.Tuple) and what.elts:
        what = what.elts[0]
    return text_of(what) or module.qualified(what)
