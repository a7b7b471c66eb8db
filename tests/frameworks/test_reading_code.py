"""What is concluded from a project's syntax: variables, constants, routes, ways to name an app."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploykit.detection import Finding, Project
from deploykit.detection.routes import health_route, health_url
from deploykit.detection.syntax import Sources
from deploykit.detection.values import UNKNOWN, module_values
from deploykit.detection.variables import needed
from deploykit.frameworks import REGISTRY


def sources(folder: Path, **files: str) -> Sources:
    """A project of those files; `__` in a name stands for `/`, and `.py` is added."""
    names = []
    for name, text in files.items():
        path = name.replace("__", "/") + ".py"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        names.append(path)
    return Sources(folder, tuple(sorted(names)))


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ('os.environ["A"]', ["A"]),
        ('os.getenv("A")', ["A"]),
        ('os.getenv("A", "x")', []),
        ('os.environ.get("A") or "x"', []),
        ('"x" if os.environ.get("A") else "y"', []),
        ('os.environ.get("A") == "1"', []),
        ('if "A" in os.environ:\n    x = os.environ["A"]', []),
        ('if os.environ["A"] == "1":\n    pass', ["A"]),
        ('try:\n    x = os.environ["A"]\nexcept KeyError:\n    x = None', []),
        ('os.environ.setdefault("A", "x")\nos.environ["A"]', []),
        ('os.environ["A"] = "x"', []),
        ('os.environ["HOME"]', []),
        ('from os import environ as e\ne["A"]', ["A"]),
        ('from os import getenv\ngetenv("A")', ["A"]),
        ('from decouple import config\nconfig("A", cast=int)', ["A"]),
        ('from decouple import config\nconfig("A", default=1)', []),
        ('config("A")', []),
        ('env = environ.Env(A=(int, 1))\nenv("A")\nenv.str("B")\nenv.int("C", default=2)', ["B"]),
        ("env = environ.Env()\nenv.db()\nenv.cache()", ["DATABASE_URL", "CACHE_URL"]),
    ],
)
def test_the_variables_that_have_no_default_are_needed(code: str, names: list[str], tmp_path: Path) -> None:
    module = sources(tmp_path, settings=f"import os\nimport environ\n{code}\n").read("settings.py")
    assert module is not None
    assert [name for name, _ in needed([module])] == names


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ('BASE / "a" / "b"', "{top}/a/b"),
        ('os.path.join(BASE, "a", "../b")', "{top}/b"),
        ('str(BASE.joinpath("a"))', "{top}/a"),
        ('Path(__file__).resolve().parents[0] / "a"', "{top}/conf/a"),
        ('os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/a"', "{top}/a"),
        ('f"{NAME}/files"', "shop/files"),
        ('"%s" % NAME', UNKNOWN),
        ('os.environ.get("A", NAME)', "shop"),
        ('env.str("A", default="x")', "x"),
        ('config("A")', UNKNOWN),
        ('["a"] + ["b"]', ["a", "b"]),
        ('("a", NAME)', ["a", "shop"]),
        ("NAME if not DEBUG else 1", "shop"),
        ("None or NAME", "shop"),
        ('{"a": {"b": NAME}}["a"]["b"]', "shop"),
        ("unknown()", UNKNOWN),
        ("COMMON", "common"),
        ("LATER", ["x", "y"]),
        ("CHANGED", UNKNOWN),
        ('dj_database_url.config(default="sqlite:///x.db")["NAME"]', "x.db"),
    ],
)
def test_a_constant_comes_to_what_python_would_make_of_it(expression: str, value: object, tmp_path: Path) -> None:
    found = sources(
        tmp_path,
        conf__base='COMMON = "common"\n_PRIVATE = 1\nDEBUG = False\n',
        conf__site=(
            "import os\nfrom pathlib import Path\nfrom .base import *\nimport dj_database_url\n"
            'BASE = Path(__file__).resolve().parent.parent\nNAME = "shop"\nLATER = ["x"]\nLATER += ["y"]\n'
            "CHANGED = 1\nif something():\n    CHANGED = 2\n"
            f"RESULT = {expression}\n"
        ),
    )
    module = found.read("conf/site.py")
    assert module is not None
    result = module_values(found, module, "")["RESULT"].value
    assert result == (value.format(top=tmp_path) if isinstance(value, str) else value)


def test_modules_that_import_each_other_come_to_an_end(tmp_path: Path) -> None:
    found = sources(tmp_path, a="from b import *\nX = 1\n", b="from a import *\nY = 2\n")
    module = found.read("a.py")
    assert module is not None
    assert module_values(found, module, "")["Y"].value == 2


@pytest.mark.parametrize(
    ("code", "path"),
    [
        ('@app.route("/healthz")\ndef f(): pass', "/healthz"),
        ('@app.get("/livez/")\ndef f(): pass', "/livez/"),
        ('@app.post("/healthz")\ndef f(): pass', None),
        ('@app.route("/up", methods=["POST", "PUT"])\ndef f(): pass', None),
        ('@app.route("/health/<name>")\ndef f(): pass', None),
        ('@app.route("/status")\n@app.route("/ping")\ndef f(): pass', "/ping"),
        ('app.add_url_rule("/readyz", view_func=f)', "/readyz"),
        ('bp = Blueprint("b", __name__, url_prefix="/b")\n@bp.get("/up")\ndef f(): pass', "/b/up"),
        (
            'bp = Blueprint("b", __name__, url_prefix="/b")\n@bp.get("/up")\ndef f(): pass\n'
            'app.register_blueprint(bp, url_prefix="/c/")',
            "/c/up",
        ),
        ('@app.route("/healthy-food")\ndef f(): pass', None),
    ],
)
def test_a_route_for_health_checks_is_found_by_its_name(code: str, path: str | None, tmp_path: Path) -> None:
    module = sources(tmp_path, app=f"from flask import Blueprint, Flask\napp = Flask(__name__)\n{code}\n").read(
        "app.py"
    )
    assert module is not None
    found = health_route((module,))
    assert (found.value if found else None) == path


@pytest.mark.parametrize(
    ("patterns", "path"),
    [
        ('path("healthz", v)', "/healthz"),
        ('path("ping/", v)', "/ping/"),
        (r're_path(r"^up/?$", v)', "/up/"),
        ('path("api/", include("api.urls"))', "/api/readyz"),
        ('path("api/", include(api.urls))', "/api/readyz"),
        ('path("", include([path("status", v)]))', "/status"),
        ('path("ht/", include("health_check.urls"))', "/ht/"),
        ('path("<slug:x>/health", v)', None),
        ('path("a/", include("urls"))', None),
    ],
)
def test_a_url_for_health_checks_is_found_through_includes(patterns: str, path: str | None, tmp_path: Path) -> None:
    found = sources(
        tmp_path,
        urls=f"import api.urls\nfrom django.urls import include, path, re_path\nurlpatterns = [{patterns}]\n",
        api____init__="",
        api__urls='from django.urls import path\nurlpatterns = [path("readyz", v)]\n',
    )
    module = found.read("urls.py")
    assert module is not None
    url = health_url(found, module, "")
    assert (url.value if url else None) == path


@pytest.mark.parametrize(
    ("files", "flask_app", "entrypoints"),
    [
        ({"app": "app = Flask(__name__)"}, "", ["app:app"]),
        ({"app": "app: Flask = Flask(__name__)"}, "", ["app:app"]),
        ({"app": "application = app = Flask(__name__)"}, "", ["app:application"]),
        ({"app": "class Shop(Flask): pass\napp = Shop(__name__)"}, "", ["app:app"]),
        ({"app": "def create_app(): return Flask(__name__)"}, "", ["app:create_app()"]),
        ({"app": "def create_app(config): return Flask(__name__)"}, "", []),
        ({"app": "def create_app(*, config): return Flask(__name__)"}, "", []),
        ({"app": "def create_app(config=None, *more, **rest): return Flask(__name__)"}, "", ["app:create_app()"]),
        ({"app": "app = Flask(__name__)", "wsgi": "from app import app as application"}, "", ["wsgi:application"]),
        ({"app": "app = Flask(__name__)", "wsgi": "from app import app"}, "app", ["wsgi:app"]),
        ({"a": "app = Flask(__name__)", "b": "app = Flask(__name__)"}, "b.py", ["b:app"]),
        ({"a": "app = Flask(__name__)", "b": "app = Flask(__name__)"}, "", ["a:app", "b:app"]),
        ({"a": "def make(): return Flask(__name__)\nx = Flask('x')"}, "a:make", ["a:make()"]),
        ({"a": "def make(): return Flask(__name__)\nx = Flask('x')"}, "a:make('live')", ["a:x"]),
        ({"main": "app = Flask(__name__)", "celery_app": "app = Flask(__name__)"}, "", ["main:app"]),
        ({"a": "if __name__ == '__main__':\n    app = Flask(__name__)"}, "", []),
        ({"tests__a": "app = Flask(__name__)", "b": "site = Flask(__name__)"}, "", ["b:site"]),
    ],
)
def test_flask_s_app_is_named_as_its_own_command_would(
    files: dict[str, str], flask_app: str, entrypoints: list[str], tmp_path: Path
) -> None:
    found = sources(tmp_path, **{name: f"from flask import Flask\n{text}\n" for name, text in files.items()})
    environment = {"FLASK_APP": Finding(flask_app, ".flaskenv:1")} if flask_app else {}
    detected = REGISTRY.get("flask").detect(Project(found, environment=environment))
    assert detected is not None
    assert [one.value for one in detected.entrypoints] == entrypoints


@pytest.mark.parametrize(
    ("files", "entrypoints"),
    [
        ({"wsgi": "application = make()"}, ["wsgi:application"]),
        ({"wsgi": "from shop import app"}, ["wsgi:app"]),
        ({"a": "def app(environ, start_response): pass"}, ["a:app"]),
        ({"a": "class App:\n    def __call__(self, environ, start_response): pass\napp = App()"}, ["a:app"]),
        ({"a": "app = config.make_wsgi_app()"}, ["a:app"]),
        ({"a": "import bottle\napplication = bottle.Bottle()"}, ["a:application"]),
        ({"a": "def middle(environ, start_response): pass", "b": "app = x.wsgifunc()"}, ["b:app"]),
        ({"a": "def app(environ, start_response): pass", "wsgi": "application = 1"}, ["wsgi:application"]),
        ({"main": "import typer\napp = typer.Typer()"}, None),
        ({"main": "app = object()"}, None),
    ],
)
def test_a_wsgi_callable_is_known_by_its_name_or_arguments(
    files: dict[str, str], entrypoints: list[str] | None, tmp_path: Path
) -> None:
    detected = REGISTRY.get("wsgi").detect(Project(sources(tmp_path, **files)))
    assert (None if detected is None else [one.value for one in detected.entrypoints]) == entrypoints
