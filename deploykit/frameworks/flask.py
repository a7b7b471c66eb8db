"""Flask: an app object or a factory, its static folder, its instance folder and uploads, a route for health checks."""

from __future__ import annotations

import ast
import posixpath

from deploykit.detection import Detected, Finding, Project
from deploykit.detection.flask_app import Made, app_of, apps_made, candidates, entrypoints, factories
from deploykit.detection.layout import has_folder, inner, module_file, package_folder
from deploykit.detection.routes import health_route
from deploykit.detection.storage import named_folder, relative, sqlite_files
from deploykit.detection.syntax import Module, Sources, keyword, top_statements
from deploykit.detection.values import UNKNOWN, evaluate, module_values
from deploykit.detection.variables import needed

Folders = tuple[tuple[str, Finding], ...]


class _Flask:
    def detect(self, project: Project) -> Detected | None:
        sources = project.sources
        made = apps_made(sources)
        if not made:
            return None
        found = candidates(sources, made)
        folder = sources.import_folder((found[0].module if found else made[0].module).path)
        inside = tuple(module for module in sources.app_modules() if sources.import_folder(module.path) == folder)
        chosen, notes = entrypoints(project, found, factories(made), folder)
        app = app_of(sources, chosen, made, folder)
        static, static_notes = _static(sources, app, folder)
        data, data_notes = _data(sources, inside, app, folder)
        media = _uploads(static, data)
        return Detected(
            framework="flask",
            seen=app.module.seen(app.call),
            folder=folder,
            entrypoints=chosen,
            static=static,
            media=media,
            data=tuple(one for one in data if one[1].value not in {finding.value for _, finding in media}),
            release=_migrations(sources, inside, chosen),
            health_path=health_route(inside),
            environment=_environment(project),
            needs=needed(inside),
            notes=(*notes, *static_notes, *data_notes, *_notes(inside)),
        )

    def default_static(self, files: tuple[str, ...], entrypoint: str) -> tuple[tuple[str, str], ...]:
        module = entrypoint.partition(":")[0]
        path = module_file(files, module) or module_file(files, module, "src")
        packages = {package_folder(name) for name in files if name.endswith("/__init__.py") and name.count("/") <= 3}
        with_static = sorted(package for package in packages if has_folder(files, inner(package, "static")))
        folders = [inner(package_folder(path), "static"), "static"]
        if len(with_static) == 1:
            folders.append(inner(with_static[0], "static"))
        found = next((folder for folder in folders if has_folder(files, folder)), "")
        return (("/static/", found),) if found else ()


def _static(sources: Sources, app: Made, folder: str) -> tuple[Folders, tuple[str, ...]]:
    """The app's own static folder below the URL that it serves it at."""
    module, call = app.module, app.call
    names = module_values(sources, module, folder)
    given, given_url = keyword(call, "static_folder"), keyword(call, "static_url_path")
    value = evaluate(given, module, names, str(sources.folder)) if given is not None else "static"
    url = evaluate(given_url, module, names, str(sources.folder)) if given_url is not None else None
    where = f"{module.path}:{call.lineno}"
    if value is None:
        return (), ()
    if not isinstance(value, str) or url is UNKNOWN:
        return (), (f"The static folder in {where} is worked out when the app runs: add its location by hand.",)
    path = relative(sources, value, package_folder(module.path))
    if not path:
        return (), (f"The static folder `{value}` ({where}) lies outside of this folder: nginx can't serve it.",)
    if given is None and not has_folder(sources.files, path):
        return (), ()
    prefix = url.strip("/") if isinstance(url, str) else posixpath.basename(path)
    if not prefix:
        return (), (f"Flask serves {path}/ at / itself ({where}): nginx can't tell its files from the app's pages.",)
    seen = f"static_folder={value!r} in {where}" if given is not None else f"{path}/ beside {where}"
    return ((f"/{prefix}/", Finding(path, seen)),), ()


def _data(sources: Sources, modules: tuple[Module, ...], app: Made, folder: str) -> tuple[Folders, tuple[str, ...]]:
    """Folders that the code writes to: the instance folder, those of SQLite files, uploads."""
    found: dict[str, tuple[str, Finding]] = {}
    notes: list[str] = []
    instance = inner(folder, "instance")
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and node.attr == "instance_path" and instance not in found:
                found[instance] = ("instance", Finding(instance, f"instance_path in {module.path}:{node.lineno}"))
    uses_sqlalchemy = any("flask_sqlalchemy" in origin for module in modules for origin in module.imports.values())
    for path, where in sqlite_files(sources, modules, folder):
        # Flask-SQLAlchemy takes a relative path from the instance folder, everything else from the working folder.
        at = relative(sources, path, instance if uses_sqlalchemy else folder)
        if at is None:
            notes.append(f"The SQLite file `{path}` ({where}) lies outside of this folder: no volume can keep it.")
        elif package_folder(at) in ("", folder):
            notes.append(
                f"The SQLite file {at} ({where}) lies among the code, and each release is a fresh copy of the code: "
                "move it to a folder of its own, such as data/, and name that in `volumes`."
            )
        elif package_folder(at) not in found:
            own = package_folder(at)
            found[own] = (posixpath.basename(own), Finding(own, f"{posixpath.basename(at)} in {where}"))
    uploads = named_folder(sources, modules, folder, "UPLOAD_FOLDER")
    if uploads is not None:
        at = relative(sources, uploads[0], folder)
        if at:
            found.setdefault(at, ("uploads", Finding(at, f"UPLOAD_FOLDER in {uploads[1]}")))
        else:
            notes.append(f"UPLOAD_FOLDER ({uploads[1]}) is `{uploads[0]}`, which is no folder below this one.")
    return tuple(found.values()), tuple(notes)


def _uploads(static: Folders, data: Folders) -> Folders:
    """Data folders inside a static folder: the app's pages link to them there, so nginx serves them from the volume."""
    return tuple(
        (url + finding.value.removeprefix(inside.value + "/") + "/", finding)
        for url, inside in static
        for _, finding in data
        if finding.value.startswith(inside.value + "/")
    )


def _migrations(sources: Sources, modules: tuple[Module, ...], chosen: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """`flask db upgrade` where the project has Flask-Migrate's folder; its place is relative to the working folder."""
    if len(chosen) != 1 or "migrations/env.py" not in sources.files:
        return ()
    for module in modules:
        if any(origin.startswith("flask_migrate.") for origin in module.imports.values()):
            command = f"flask --app {chosen[0].value} db upgrade"
            return (Finding(command, f"flask_migrate in {module.path}, migrations/env.py"),)
    return ()


def _environment(project: Project) -> tuple[tuple[str, Finding], ...]:
    """What only `flask run` would read from .flaskenv; FLASK_ variables are that command's own."""
    return tuple(
        (name, finding)
        for name, finding in project.environment.items()
        if ".flaskenv" in finding.seen and not name.startswith("FLASK_")
    )


def _notes(modules: tuple[Module, ...]) -> tuple[str, ...]:
    notes = []
    if not any("ProxyFix" in module.imports for module in modules):
        notes.append(
            "Behind nginx the app sees the visitor's address, host and scheme only with werkzeug's "
            "ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1); no module imports it."
        )
    for module in modules:
        for statement in top_statements(module.tree.body):
            name = _runs(statement)
            if name:
                notes.append(
                    f"`{name}.run()` in {module.path}:{statement.lineno} starts a server as soon as the module is "
                    'imported: put it below `if __name__ == "__main__":`.'
                )
    return tuple(notes)


def _runs(statement: ast.stmt) -> str:
    """The name in a statement `app.run(...)`, empty for any other statement."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute) or call.func.attr != "run":
        return ""
    owner = call.func.value
    return owner.id if isinstance(owner, ast.Name) and owner.id in ("app", "application") else ""


DRIVER = _Flask()
