"""What nginx serves where a spec names no sites: by the names of the source's files alone."""

from __future__ import annotations

import pytest

from deploykit.frameworks import REGISTRY


@pytest.mark.parametrize(
    ("files", "entrypoint", "static"),
    [
        (("app.py", "static/a.css"), "app:app", "static"),
        (("shop/__init__.py", "shop/static/a.css"), "shop:create_app()", "shop/static"),
        (("shop/web.py", "shop/__init__.py", "shop/static/a.css"), "shop.web:app", "shop/static"),
        (("src/shop/__init__.py", "src/shop/static/a.css"), "shop:app", "src/shop/static"),
        (("wsgi.py", "shop/__init__.py", "shop/static/a.css"), "wsgi:app", "shop/static"),
        (("shop/__init__.py", "shop/static/a.css", "static/b.css"), "shop:app", "shop/static"),
    ],
)
def test_flask_s_static_folder_lies_beside_the_app(files: tuple[str, ...], entrypoint: str, static: str) -> None:
    assert REGISTRY.get("flask").default_static(files, entrypoint) == (("/static/", static),)


@pytest.mark.parametrize(
    "files",
    [
        ("app.py",),
        ("app.py", "statics/a.css", "static"),
        ("wsgi.py", "a/__init__.py", "a/static/x", "b/__init__.py", "b/static/x"),
    ],
)
def test_flask_without_a_clear_static_folder_has_none(files: tuple[str, ...]) -> None:
    assert REGISTRY.get("flask").default_static(files, "wsgi:app") == ()


def test_django_s_static_folder_is_filled_later() -> None:
    assert REGISTRY.get("django").default_static(("manage.py",), "shop.wsgi:application") == (
        ("/static/", "staticfiles"),
    )


def test_plain_wsgi_serves_no_files() -> None:
    assert REGISTRY.get("wsgi").default_static(("app.py", "static/a.css"), "app:app") == ()


def test_every_framework_answers_for_an_empty_project() -> None:
    assert REGISTRY.names() == ("django", "flask", "wsgi")
