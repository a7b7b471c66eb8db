"""The reference of the spec as Markdown, from the same declarations that check it: it can't go stale."""

from __future__ import annotations

from typing import Any

from deploykit.spec.schema import schema

HEAD = """# The spec, key by key

Made from the model by `python -m deploykit.spec.reference`; a test holds it to that. Durations carry their unit (`30s`,
`5m`, `1h`), sizes too (`512k`, `10m`; powers of 1024). What has no default here is required.

What stands below `environments.NAME` holds for `-e NAME` only: mappings merge, lists and scalars are replaced, null
removes a key. A mapping over a short form merges with its long form (`app_server: {workers: 2}` over
`app_server: uwsgi` is uWSGI with two workers), a short form over a mapping replaces it. Without `-e` the environment is
`local`, which may have changes of its own there. The spec has to be whole in each of them; `deploykit check` says.
"""

SECTIONS = (
    ("", "", "The whole file"),
    ("App", "apps.NAME", "An app"),
    ("AppServer", "apps.NAME.app_server", "What runs it"),
    ("Balance", "apps.NAME.balance", "How requests are spread"),
    ("Instance", "apps.NAME.instances[N]", "One instance"),
    ("Healthcheck", "apps.NAME.healthcheck", "Whether it is healthy"),
    ("Secret", "apps.NAME.secrets.VARIABLE", "A secret"),
    ("Site", "sites.NAME", "A site"),
    ("Location", "sites.NAME.locations.PATH", "What answers below a path"),
    ("Images", "images", "Base images"),
    ("UserCheck", "checks[N]", "A check of your own"),
    ("Environment", "environments.NAME", "An environment"),
)
"""Name in the schema, path in the spec, heading; in the order in which a spec is written."""


def reference() -> str:
    """Every key with what it takes, its default and what it is for."""
    whole = schema()
    lines = [HEAD]
    for name, path, heading in SECTIONS:
        section = whole["$defs"][name] if name else whole
        lines += [f"## {heading}" + (f": `{path}`" if path else ""), ""]
        lines += ["| key | takes | default | what it is |", "| --- | --- | --- | --- |"]
        required = section.get("required", [])
        for key, value in section["properties"].items():
            default = "required" if key in required else _default(value)
            lines.append(f"| `{key}` | {_takes(value)} | {default} | {_cell(value.get('description', ''))} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _default(value: dict[str, Any]) -> str:
    default = value.get("default")
    return f"`{default}`" if default not in (None, {}, []) else ""


def _takes(value: dict[str, Any]) -> str:
    """In a few words, what may be written there."""
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_takes(one) for one in value["anyOf"] if one != {"type": "null"}))
    if "$ref" in value:
        return "address" if value["$ref"].endswith("/Address") else "mapping"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{word}`" for word in value["enum"])
    kind = value.get("type")
    if kind == "array":
        return f"list of {_takes(value['items'])}s" if "items" in value else "list"
    if kind == "integer":
        low, high = value.get("minimum"), value.get("maximum")
        return "number" if low is None else f"number from {low}" + (f" to {high}" if high is not None else "")
    if kind == "object":
        return "mapping"
    if str(value.get("pattern", "")).endswith("(ms|s|m|h|d|y)$"):
        return "duration"
    if "[kKmMgG]" in str(value.get("pattern", "")):
        return "size"
    return "text"


if __name__ == "__main__":
    print(reference(), end="")
