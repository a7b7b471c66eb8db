"""Whether nginx serves the files it should, as it should, and not one that lies outside of their folder."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from urllib.parse import quote, unquote

from deploykit.plan import Check, Route
from deploykit.proof.scene import Scene, Seen, broken, counted, described, kept, not_run, refused, text
from deploykit.wire import Answer

__all__ = ["file_from_nginx", "static_confined", "static_from_nginx"]

YEAR = "max-age=31536000"

HASHED = re.compile(r"[.-][0-9a-f]{8,}\.[^/]+$")
"""Names that carry a hash of their content, such as `logo.ad58806dad33.svg`."""

TYPES = {
    "css": ("text/css",),
    "js": ("text/javascript", "application/javascript"),
    "html": ("text/html",),
    "json": ("application/json",),
    "svg": ("image/svg+xml",),
    "png": ("image/png",),
    "jpg": ("image/jpeg",),
    "webp": ("image/webp",),
    "ico": ("image/x-icon", "image/vnd.microsoft.icon"),
    "woff2": ("font/woff2",),
    "txt": ("text/plain",),
}
"""Ending to the types that browsers need to see for it."""

UNREADABLE = "its files can't be looked at from here"

MOST_FILE_KILOBYTES = 1024

CANARIES = ("worker_connections", "root:x:0:")
"""Only in files that lie outside: nginx's own configuration and the system's users."""

LINKS_TRIED = 3
NEIGHBOURS_TRIED = 3


# --- what is served --------------------------------------------------------------------------------------------------


def static_from_nginx(scene: Scene, check: Check) -> Seen:
    """Real files of the folder come from nginx itself, with the promised caching and the type of their name.

    So does one with a hash in its name that only the release before had, where there is such a one.
    """
    if not scene.prefix or "nginx" not in scene.hosts:
        return not_run(UNREADABLE)
    files = scene.found(text(check, "folder"), "-type", "f", "-size", f"-{MOST_FILE_KILOBYTES}k")
    if files is None:
        # collectstatic makes no folder where no app brings a file; without such a command the spec is wrong.
        if any("collectstatic" in words for words in scene.plan.app(text(check, "app")).release_commands):
            return not_run("collectstatic made no such folder")
        return broken(
            f"there is no {text(check, 'folder').rpartition('/code/')[2]}, from the source or made by `release`"
        )
    earlier = _picked_earlier(scene, text(check, "previous_folder"), files)
    picked = _picked(files) + earlier
    if not picked:
        return not_run("the folder has no file to ask for")
    path, host = text(check, "path"), text(check, "host")
    answers = scene.ask(*[scene.request(host, path + _quoted(file)) for file in picked])
    for file, answer in zip(picked, answers, strict=True):
        wrong = _wrong(check, file, answer)
        if wrong:
            return broken(f"{path}{file}: {', '.join(wrong)}")
    told = dict.fromkeys(f"{answer.status}, {answer.header('cache-control')}" for answer in answers)
    before = ", 1 of the release before" if earlier else ""
    return kept(f"{'; '.join(told)} ({len(picked)} file{'s' if len(picked) > 1 else ''}{before})")


def file_from_nginx(scene: Scene, check: Check) -> Seen:
    """The one file comes from nginx itself, with the promised caching."""
    answer = scene.ask(scene.request(text(check, "host"), text(check, "path")))[0]
    wrong = _wrong(check, text(check, "path"), answer)
    return broken(", ".join(wrong)) if wrong else kept(f"{answer.status}, {answer.header('cache-control')}")


def _picked(files: list[str]) -> list[str]:
    """A file of a known type, one with a hash in its name, one without, where there are such."""
    visible = [file for file in files if not any(part.startswith(".") for part in file.split("/"))]
    kinds = (
        [file for file in visible if file.rpartition(".")[2] in TYPES],
        [file for file in visible if HASHED.search(file)],
        [file for file in visible if not HASHED.search(file)],
    )
    return list(dict.fromkeys(kind[0] for kind in kinds if kind))


def _picked_earlier(scene: Scene, folder: str, current: list[str]) -> list[str]:
    """A file with a hash in its name that the release before had and this one has not: old pages still ask for it."""
    before = scene.found(folder, "-type", "f", "-size", f"-{MOST_FILE_KILOBYTES}k") if folder else None
    gone = [file for file in before or [] if file not in current and HASHED.search(file)]
    return [file for file in gone if not any(part.startswith(".") for part in file.split("/"))][:1]


def _wrong(check: Check, file: str, answer: Answer) -> list[str]:
    if answer.status != 200:
        return [f"{described(answer)}, not 200"]
    wrong = []
    if member := answer.header("x-deploykit-member"):
        wrong.append(f"from the app ({member}), not from nginx")
    types = TYPES.get(file.rpartition(".")[2])
    seen = answer.header("content-type").partition(";")[0]
    if types and seen not in types:
        wrong.append(f"type {seen or 'missing'}, not {types[0]}")
    wrong += _wrong_caching(text(check, "cache_control"), file, answer)
    if answer.header("x-content-type-options") != "nosniff":
        wrong.append("without nosniff")
    if check.values["sandbox"] and "sandbox" not in answer.header("content-security-policy"):
        wrong.append("without the sandbox that uploads need")
    return wrong


def _wrong_caching(promised: str, file: str, answer: Answer) -> list[str]:
    if promised == "hashed":
        promised = "immutable" if HASHED.search(file) else "no-cache"
    wanted = {YEAR, "immutable"} if promised == "immutable" else {promised}
    headers = [value for name, value in answer.headers if name == "cache-control"]
    seen = {part.strip().lower() for value in headers for part in value.split(",")}
    forbidden = {"no-cache", "no-store", "private"} - wanted
    if wanted <= seen and not seen & forbidden:
        return []
    return [f"Cache-Control {', '.join(headers) or 'missing'}, not {promised}"]


# --- what is not -----------------------------------------------------------------------------------------------------


def static_confined(scene: Scene, check: Check) -> Seen:
    """No spelling of a path leads out of the folder, along no link, and to no hidden file."""
    host = text(check, "host")
    attacks = list(dict.fromkeys(_attacks(scene, text(check, "path"), text(check, "folder"))))
    answers = scene.ask(*[scene.request(host, attack) for attack in attacks])
    for attack, answer in zip(attacks, answers, strict=True):
        if any(canary in answer.body for canary in CANARIES):
            return broken(f"{attack}: {described(answer)}, with a file from outside")
        if not _harmless(answer):
            return broken(f"{attack}: {described(answer)}")
    by_nginx = [answer for answer in answers if not answer.header("x-deploykit-member")]
    told = [f"{len(attacks)} attacks", counted(by_nginx)]
    if len(by_nginx) < len(attacks):
        told.append(f"{len(attacks) - len(by_nginx)} left to the app")
    return kept(", ".join(text for text in told if text))


def _harmless(answer: Answer) -> bool:
    # What an app says to a path that is not nginx's is its own business: it served no file of nginx's.
    from_app = bool(answer.header("x-deploykit-member"))
    return from_app or refused(answer) or 400 <= answer.status < 500


def _attacks(scene: Scene, path: str, folder: str) -> Iterator[str]:
    bare = path.rstrip("/")
    depth = len(folder.strip("/").split("/"))
    yield from _beside(scene, bare, folder)
    # Up to nginx's own configuration, which is there on every target, in every spelling of `../`.
    for up in ("../", "..%2f", "%2e%2e/", "%2e%2e%2f", ".%2e/", "..%5c", "..\\", "%252e%252e%252f", "%c0%ae%c0%ae/"):
        yield f"{path}{up * depth}nginx/current/nginx.conf"
    yield f"{path}..;/..;/nginx.conf"
    # Up by its bare path and no further, for what has just one slash too few.
    yield f"{path}{'../' * 12}etc/passwd"
    yield f"{bare}..%2f{'..%2f' * 12}etc/passwd"
    yield f"{path}%2fetc/passwd"
    yield f"{path}{'%2e%2e%2f' * 12}etc/passwd%00.css"
    for hidden in (".env", ".git/config", ".htpasswd"):
        yield path + hidden
    yield from _real(scene, path, folder)


def _quoted(path: str) -> str:
    """A path as a URL has it, whatever its bytes."""
    return quote(path, errors="surrogateescape")


def _beside(scene: Scene, bare: str, folder: str) -> Iterator[str]:
    """`/static../x` is x beside the folder where location and alias don't both end in a slash."""
    parent, _, own = folder.strip("/").rpartition("/")
    # Out and back in: it asks for nothing secret, and there is always something to be found.
    yield f"{bare}../{_quoted(own)}"
    yield f"{bare}..%2f{_quoted(own)}"
    for file in (scene.found(folder, "-type", "f") or [])[:1]:
        yield f"{bare}../{_quoted(own)}/{_quoted(file)}"
    neighbours = scene.found(parent, "-maxdepth", "2", "-type", "f") if parent else []
    outside = [file for file in neighbours or [] if not file.startswith(own + "/")]
    for file in outside[:NEIGHBOURS_TRIED]:
        yield f"{bare}../{_quoted(file)}"
        # As a path that nginx has tidied up, it may be one that another location of files answers, rightly.
        tidied = posixpath.normpath(f"{unquote(bare)}/../{file}")
        if not any(route.folder and tidied.startswith(unquote(route.path)) for route in _routes(scene)):
            yield f"{bare}/..%2f{_quoted(file)}"


def _routes(scene: Scene) -> Iterator[Route]:
    for site in scene.plan.sites:
        yield from site.routes


def _real(scene: Scene, path: str, folder: str) -> Iterator[str]:
    """Links that lead out of the folder and hidden files, where there are any."""
    top = posixpath.join(scene.prefix, folder)
    root = scene.run("nginx", "readlink -f %s", top) or ""
    tried = 0
    for link in scene.found(folder, "-type", "l") or []:
        target = scene.run("nginx", "readlink -f %s", posixpath.join(top, link)) or ""
        if target and not target.startswith(root.strip() + "/") and tried < LINKS_TRIED:
            tried += 1
            yield path + _quoted(link)
    for file in (scene.found(folder, "-name", ".*", "-type", "f") or [])[:LINKS_TRIED]:
        yield path + _quoted(file)
