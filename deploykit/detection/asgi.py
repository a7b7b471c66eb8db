"""Recognises an ASGI application, just enough to say so: this version runs WSGI applications."""

from __future__ import annotations

import ast

from deploykit.detection import Finding
from deploykit.detection.syntax import Sources, assignments

MAKERS = ("fastapi.FastAPI", "starlette.applications.Starlette", "quart.Quart", "litestar.Litestar", "sanic.Sanic")


def asgi_app(sources: Sources) -> Finding | None:
    """The first ASGI application: an object of a known class, or an `async def` of scope, receive and send."""
    for module in sources.app_modules():
        if not any(word in module.text for word in _WORDS):
            continue
        for _, value, statement in assignments(module.tree):
            if isinstance(value, ast.Call) and module.qualified(value.func).endswith((*MAKERS, "get_asgi_application")):
                return Finding(sources.name(module.path), module.seen(statement))
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AsyncFunctionDef) and [a.arg for a in node.args.args][-3:] == _ASGI_ARGUMENTS:
                return Finding(sources.name(module.path), module.seen(node))
            if isinstance(node, ast.Call) and module.qualified(node.func) in MAKERS:
                return Finding(sources.name(module.path), module.seen(node))
    return None


_WORDS = ("receive", "get_asgi_application", *(maker.rpartition(".")[2] for maker in MAKERS))
"""One of these is in the text of every module that has one."""
_ASGI_ARGUMENTS = ["scope", "receive", "send"]
