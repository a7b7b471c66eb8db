"""Django: manage.py, the settings for production and what they say, its WSGI callable, its release commands."""

from __future__ import annotations

import ast
import posixpath
import re

from deploykit.detection import Detected, Finding, Project
from deploykit.detection.django_settings import VARIABLE, Choice, Settings, choose, named_settings, read_settings
from deploykit.detection.layout import module_file, package_folder
from deploykit.detection.routes import health_url
from deploykit.detection.storage import relative
from deploykit.detection.syntax import Module, Sources, assignments
from deploykit.detection.variables import needed

WITHOUT_WSGI = "django.core.wsgi:get_wsgi_application()"
"""The callable of a project without a wsgi.py; needs the settings module in its environment."""
Folders = tuple[tuple[str, Finding], ...]


class _Django:
    def detect(self, project: Project) -> Detected | None:
        sources = project.sources
        managers = [module for module in sources.app_modules() if _is_manage(module)]
        wsgis = [module for module in sources.app_modules() if _callable_of(module)]
        if not managers and not wsgis:
            return None
        manage = managers[0] if managers else None
        folder = package_folder(manage.path) if manage else sources.import_folder(wsgis[0].path)
        folder = _import_folder(sources, folder, named_settings(manage))
        inside = [module for module in wsgis if not folder or module.path.startswith(folder + "/")]
        choice = choose(project, folder, manage, inside[0] if inside else None)
        if choice is None:
            return Detected("django", seen=(manage or wsgis[0]).path, folder=folder, notes=(_NO_SETTINGS,))
        settings = read_settings(project, folder, choice.module)
        entrypoints = _entrypoints(settings, inside, folder, sources)
        static, static_notes = _static(sources, settings)
        media, media_notes = _media(sources, settings)
        data, data_notes = _data(sources, settings, choice, folder)
        by_hand = choice.set_by_code and not any(one.value == WITHOUT_WSGI for one in entrypoints)
        return Detected(
            framework="django",
            seen=manage.path if manage else wsgis[0].path,
            folder=folder,
            entrypoints=entrypoints,
            static=static,
            static_cache="hashed" if "Manifest" in settings.text("STATICFILES_STORAGE") else "no-cache",
            media=media,
            data=data,
            server_names=_server_names(settings),
            release=_release(settings, manage, bool(static)),
            program=manage.path if manage else "",
            health_path=_health(sources, settings, folder),
            environment=() if by_hand else ((VARIABLE, Finding(choice.module, choice.seen)),),
            needs=needed(_settings_modules(sources, choice.module, folder), {VARIABLE}),
            notes=(
                *_asking_notes(settings, choice),
                *static_notes,
                *media_notes,
                *data_notes,
                *_notes(settings, choice),
                *_others(managers),
            ),
        )

    def default_static(self, files: tuple[str, ...], entrypoint: str) -> tuple[tuple[str, str], ...]:
        # Not asked whether it is there: collectstatic fills it, once per release.
        return (("/static/", "staticfiles"),)


_NO_SETTINGS = "No settings module was found: set DJANGO_SETTINGS_MODULE under `environment`."


def _is_manage(module: Module) -> bool:
    return module.path.rpartition("/")[2] == "manage.py" and any(
        origin.startswith("django.") for origin in module.imports.values()
    )


def _import_folder(sources: Sources, folder: str, settings: str) -> str:
    """Where the settings are imported from: beside manage.py, or a folder below that manage.py puts on the path."""
    if not settings or module_file(sources.files, settings, folder):
        return folder
    stem = "/" + settings.replace(".", "/")
    for path in sources.files:
        for end in (f"{stem}.py", f"{stem}/__init__.py"):
            if path.endswith(end) and (not folder or path.startswith(f"{folder}/")):
                return path.removesuffix(end)
    return folder


def _callable_of(module: Module) -> tuple[str, str]:
    """(name, what was seen) of the callable in a Django wsgi module, empty for any other module."""
    names = {}
    for name, value, statement in assignments(module.tree):
        calls = [module.qualified(node.func) for node in ast.walk(value) if isinstance(node, ast.Call)]
        if "django.core.wsgi.get_wsgi_application" in calls or name in names:
            names[name] = module.seen(statement)
    chosen = next((name for name in ("application", "app") if name in names), next(iter(names), ""))
    return (chosen, names[chosen]) if chosen else ()  # type: ignore[return-value]


def _entrypoints(settings: Settings, wsgis: list[Module], folder: str, sources: Sources) -> tuple[Finding, ...]:
    module, _, name = settings.text("WSGI_APPLICATION").rpartition(".")
    if module and sources.find(module, folder) is not None:
        return (Finding(f"{module}:{name}", settings.seen("WSGI_APPLICATION")),)
    found = [(sources.name(one.path, folder), *_callable_of(one)) for one in wsgis]
    if not found:
        return (Finding(WITHOUT_WSGI, "there is no wsgi.py that calls get_wsgi_application"),)
    return tuple(Finding(f"{module}:{name}", seen) for module, name, seen in found)


def _static(sources: Sources, settings: Settings) -> tuple[Folders, tuple[str, ...]]:
    if "django.contrib.staticfiles" not in settings.texts("INSTALLED_APPS"):
        return (), ()
    url, root = settings.text("STATIC_URL"), settings.text("STATIC_ROOT")
    if "://" in url or url.startswith("//"):
        return (), (f"STATIC_URL is another host ({settings.place('STATIC_URL')}): nginx serves no static files here.",)
    if not root:
        return (), (
            "STATIC_ROOT is not set, so collectstatic has nowhere to put files and nginx nothing to serve: add "
            'STATIC_ROOT = BASE_DIR / "staticfiles" to the settings, collectstatic to `release` and a location here.',
        )
    at = relative(sources, root, "")
    if not at:
        return (), (
            f"STATIC_ROOT ({settings.place('STATIC_ROOT')}) is `{root}`, which is no folder below this one: make it "
            'BASE_DIR / "staticfiles", so that each release has its own.',
        )
    return (("/" + (url or "static/").strip("/") + "/", Finding(at, settings.seen("STATIC_ROOT"))),), ()


def _media(sources: Sources, settings: Settings) -> tuple[Folders, tuple[str, ...]]:
    url, root = settings.text("MEDIA_URL"), settings.text("MEDIA_ROOT")
    if not root:
        return (), ()
    at = relative(sources, root, "")
    if not at:
        where = settings.place("MEDIA_ROOT")
        return (), (f"MEDIA_ROOT ({where}) is `{root}`, which is no folder below this one: no volume can keep it.",)
    served = "" if not url.strip("/") or "://" in url or url.startswith("//") else "/" + url.strip("/") + "/"
    return ((served, Finding(at, settings.seen("MEDIA_ROOT"))),), ()


def _data(sources: Sources, settings: Settings, choice: Choice, folder: str) -> tuple[Folders, tuple[str, ...]]:
    found: dict[str, tuple[str, Finding]] = {}
    notes = []
    for path in dict.fromkeys(settings.texts("sqlite")):
        at = relative(sources, path, "")
        own = package_folder(at) if at is not None else ""
        if at is None:
            notes.append(f"The SQLite file `{path}` ({choice.module}) lies outside of this folder: no volume keeps it.")
        elif own in ("", folder):
            notes.append(
                f"The SQLite file {at} ({settings.place('DATABASES')}) lies among the code, and each release is a "
                "fresh copy of the code: move it to a folder of its own, such as data/, and name that in `volumes`."
            )
        else:
            seen = f"SQLite file {posixpath.basename(at)}, {settings.seen('DATABASES')}"
            found.setdefault(own, (posixpath.basename(own), Finding(own, seen)))
    return tuple(found.values()), tuple(notes)


def _server_names(settings: Settings) -> tuple[Finding, ...]:
    """Hosts of ALLOWED_HOSTS that are names of a public site; a leading dot means the name and all below it."""
    names: list[str] = []
    for host in settings.texts("ALLOWED_HOSTS"):
        plain = host.strip().lower()
        names += [plain[1:], f"*.{plain[1:]}"] if plain.startswith(".") else [plain]
    return tuple(
        Finding(name, settings.seen("ALLOWED_HOSTS"))
        for name in dict.fromkeys(names)
        if re.fullmatch(r"(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+", name)
        and not re.fullmatch(r"[0-9.]+", name)
    )


def _release(settings: Settings, manage: Module | None, has_static: bool) -> tuple[Finding, ...]:
    start = "python {program}" if manage is not None else "python -m django"
    found = []
    if settings.values.get("databases") or not settings.values:
        found.append(Finding(f"{start} migrate --noinput", settings.seen("DATABASES")))
    if has_static:
        found.append(Finding(f"{start} collectstatic --noinput", settings.seen("STATIC_ROOT")))
    return tuple(found)


def _health(sources: Sources, settings: Settings, folder: str) -> Finding | None:
    name = settings.text("ROOT_URLCONF")
    module = sources.find(name, folder) if name else None
    return health_url(sources, module, folder) if module is not None else None


def _settings_modules(sources: Sources, name: str, folder: str) -> list[Module]:
    """The settings module and those of the project that it imports from."""
    found: list[Module] = []
    waiting = [sources.find(name, folder)]
    while waiting:
        module = waiting.pop(0)
        if module is None or module in found:
            continue
        found.append(module)
        for node in module.tree.body:
            if isinstance(node, ast.ImportFrom):
                origins = {module.imports[alias.asname or alias.name] for alias in node.names}
                for origin in sorted(origins):
                    waiting += [sources.find(origin.rpartition(".")[0], folder), sources.find(origin, folder)]
    return found


def _asking_notes(settings: Settings, choice: Choice) -> tuple[str, ...]:
    if settings.asked:
        return ()
    return (f"The settings {choice.module} were read, not asked ({settings.how}): check what comes from them.",)


def _notes(settings: Settings, choice: Choice) -> tuple[str, ...]:
    notes = []
    hosts = settings.values.get("ALLOWED_HOSTS")
    if settings.values.get("DEBUG") is True:
        notes.append(f"DEBUG is on ({settings.place('DEBUG')}): a visitor of an error page reads the settings.")
    elif isinstance(hosts, list) and not {"localhost", "*", ".localhost"} & set(settings.texts("ALLOWED_HOSTS")):
        said = "empty" if not hosts else "without `localhost`"
        notes.append(
            f"ALLOWED_HOSTS is {said} ({settings.place('ALLOWED_HOSTS')}): Django answers 400 to http://localhost."
        )
    header = settings.values.get("SECURE_PROXY_SSL_HEADER")
    if isinstance(header, list) and header and header[0] != "HTTP_X_FORWARDED_PROTO":
        notes.append(f"SECURE_PROXY_SSL_HEADER is {header[0]!r}; nginx here sets X-Forwarded-Proto.")
    if settings.values.get("SECURE_SSL_REDIRECT") is True:
        notes.append("SECURE_SSL_REDIRECT sends every visitor to https, which nothing here serves yet: turn it off.")
    if any("whitenoise" in name for name in settings.texts("MIDDLEWARE")):
        notes.append("WhiteNoise is in MIDDLEWARE; nginx answers first, so it has nothing to do here and may stay.")
    if any(name in ("channels", "daphne") for name in settings.texts("INSTALLED_APPS")):
        notes.append("The project uses ASGI as well: websockets are not served by this version, the WSGI part is.")
    return tuple(notes)


def _others(managers: list[Module]) -> tuple[str, ...]:
    return tuple(
        f"There is another Django project in {package_folder(one.path) or '.'}/: run `deploykit init` there too."
        for one in managers[1:]
    )


DRIVER = _Django()
