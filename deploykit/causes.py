"""The likely cause of a failure, from the last lines that the process wrote; silent where nothing is likely."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from deploykit.plan import Probe
from deploykit.wire import Answer

_Say = Callable[[re.Match[str]], str]

# The first that is found counts, so what is particular comes before what is general.
CAUSES: tuple[tuple[str, _Say], ...] = (
    (
        r"ModuleNotFoundError: No module named '([^']+)'",
        lambda m: (
            f"the module `{m[1]}` is not in the code and no requirement brings it: see `entrypoint`, `requirements`"
        ),
    ),
    (
        r"ImportError: cannot import name '([^']+)' from '([^']+)'",
        lambda m: f"`{m[2]}` has no `{m[1]}`; perhaps another version of it is required",
    ),
    (
        r"Failed to find attribute '([^']+)' in '([^']+)'",
        lambda m: f"the module `{m[2]}` has no `{m[1]}`: see `entrypoint`",
    ),
    (
        r"TypeError: (\w*(?:create|make|build)\w*)\(\) takes .* positional arguments? but 2 were given",
        lambda m: f"`{m[1]}` makes the app and isn't one: write `entrypoint: ...:{m[1]}()`",
    ),
    (r'unable to find "application" callable', lambda m: "the module has no such callable: see `entrypoint`"),
    (
        r"unable to load app .*\(callable not found or import error\)",
        lambda m: "the entrypoint is not there or does not import",
    ),
    (
        r"KeyError: '([A-Z][A-Z0-9_]{2,})'",
        lambda m: f"`{m[1]}` is not in the app's environment: add it to `environment` or `secrets`",
    ),
    (
        r"(?:Set the|Missing|missing|required) (?:the )?([A-Z][A-Z0-9_]{2,}) (?:environment|env)",
        lambda m: f"`{m[1]}` is not in the app's environment: add it to `environment` or `secrets`",
    ),
    (r"ImproperlyConfigured: (.+)", lambda m: f"Django's settings: {m[1].strip()}"),
    (
        r"[Aa]ddress already in use|Connection in use: (.+)",
        lambda m: "something else listens where it wants to",
    ),
    (r"PermissionError: .*?'([^']+)'", lambda m: f"it may not open `{m[1]}`"),
    (
        r"FileNotFoundError: .*?'([^']+)'",
        lambda m: f"`{m[1]}` is not there: files that .gitignore or .dockerignore name are in no release",
    ),
    (r"OperationalError: unable to open database file", lambda m: "the folder of the database is not there"),
    (
        r"OperationalError.*(?:Connection refused|could not connect|could not translate host)",
        lambda m: "its database does not answer",
    ),
    (r"no such table: (\S+)", lambda m: f"the table `{m[1]}` is not there: migrations belong into `release`"),
    (r"SyntaxError: (.+)", lambda m: f"its code is not valid for this Python: {m[1].strip()}"),
    (r"[Nn]o space left on device", lambda m: "the disk is full"),
    (r"MemoryError|Cannot allocate memory|Out of memory", lambda m: "there is not enough memory"),
    (r"[Pp]ermission denied", lambda m: "it may not open a file or socket that it needs"),
)


def likely_cause(lines: Iterable[str]) -> str:
    """What most likely went wrong, in the user's words; empty where the lines don't tell."""
    text = "\n".join(lines)
    for pattern, say in CAUSES:
        found = re.search(pattern, text)
        if found:
            return say(found)
    return ""


LISTENS = re.compile(r"Listening at: (\S+)|uwsgi socket \d+ bound to (?:TCP|UNIX) address (\S+)")
"""What Gunicorn and uWSGI write once they listen."""
SERVES_ITSELF = re.compile(r"(?:Running on|Starting development server at) (http\S+)")
"""What Flask's and Django's own servers write."""
WORKER_ENDS = re.compile(r"Worker \(pid:\d+\) (?:exited|was sent)|DAMN ! worker \d+")
"""What Gunicorn and uWSGI write of a worker that ended by itself."""
EXCEPTION = re.compile(r"^((?:\w+\.)*\w*(?:Error|Exception|Exit|Interrupt|Warning)\b(?:: .+)?)$", re.MULTILINE)
WAITS = (
    "its import or this page waits for something that does not come (a database, another service, a lock), or it "
    "needs longer than it was given: see `healthcheck.start_period`"
)


def unhealthy_cause(lines: Iterable[str], probe: Probe, answer: Answer | None, ended: str) -> str:
    """Why an instance most likely never got healthy, by how it was seen, where its log has nothing particular."""
    text = "\n".join(lines)
    raised = EXCEPTION.findall(text)
    if ended:
        why = f": {raised[-1]}" if raised else "; what it wrote last says why, if anything does"
        return f"the app or its server ends by itself while it starts{why}"
    if answer is None or answer.status:
        return _cause_of_status(probe, answer.status if answer else 0, raised)
    if found := SERVES_ITSELF.search(text):
        return (
            f"the module starts a server of its own at {found[1]} when it is imported, and never returns: put that "
            'below `if __name__ == "__main__":`'
        )
    if answer.error in ("refused", "no such socket"):
        if found := LISTENS.search(text):
            elsewhere = found[1] or found[2]
            return (
                f"its server listens at {elsewhere}, and not where nginx looks for it: something in its environment "
                "(GUNICORN_CMD_ARGS, UWSGI_...) or its code says otherwise"
            )
        return f"its server does not listen yet: {WAITS}"
    if WORKER_ENDS.search(text):
        why = f": {raised[-1]}" if raised else f", perhaps at GET {probe.path}"
        return f"its workers end and are started again{why}"
    if answer.error.startswith("timed out"):
        return f"it takes the connection and never answers: {WAITS}"
    if raised:
        return f"the code of GET {probe.path} fails: {raised[-1]}"
    return f"it breaks off at GET {probe.path}: a worker that dies there, or another protocol than nginx speaks to it"


def _cause_of_status(probe: Probe, status: int, raised: list[str]) -> str:
    low, high = probe.statuses
    if not status or low <= status <= high:
        return f"the page is there without `{probe.contains}`: see `healthcheck.contains`" if status else ""
    if status == 503:
        return "it says itself that it is not ready; where it only needs longer, raise `healthcheck.start_period`"
    if status >= 500:
        return f"the code of GET {probe.path} fails" + (f": {raised[-1]}" if raised else "; its log says where")
    if status == 404:
        return f"the app has no page {probe.path}: see `healthcheck`"
    if status in (401, 403):
        return f"{probe.path} wants a login: `healthcheck` needs a page that is open"
    if status == 400:
        return f"the app does not know the name `{probe.host}` (ALLOWED_HOSTS in Django): see `healthcheck.host`"
    return f"GET {probe.path} answers otherwise than `healthcheck` expects"


def pip_cause(lines: Iterable[str]) -> str:
    """What most likely went wrong in an installation by pip; empty where the lines don't tell."""
    text = "\n".join(lines)
    if found := re.search(r"No matching distribution found for (\S+)", text):
        if re.search(r"Name or service not known|Temporary failure|Connection refused|timed out|ProxyError", text):
            return "the package index can't be reached"
        if "(from versions: none)" in text:
            return f"the package index has no `{found[1]}` for this Python, or can't be reached"
        return f"the package index has no version of `{found[1]}` that fits"
    if re.search(r"ResolutionImpossible|conflicting dependencies", text):
        return "two requirements contradict each other"
    if "ensurepip" in text:
        return "this Python can't make virtual environments (Debian: apt install python3-venv)"
    if found := re.search(r"Could not open requirements file: .*?'([^']+)'", text):
        return f"`{found[1]}` is not there"
    if found := re.search(r"Invalid requirement: (.+)", text):
        return f"pip can't read {found[1].strip()}"
    if re.search(r"fatal error: \S+\.h|command '\S*(?:gcc|cc)' failed|error: command .*(?:gcc|cc)", text):
        return "a requirement has no wheel for this Python and could not be compiled"
    return likely_cause(text.splitlines())
