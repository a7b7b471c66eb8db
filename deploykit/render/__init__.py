"""Plan to text: the only place that knows Jinja. Reads templates, writes nothing, decides nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deploykit.errors import Place, Problem, SpecError
from deploykit.plan import FilePlan, Plan, RenderedFile
from deploykit.render.quoting import FILTERS, Unquotable

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGE = Path(__file__).parent.parent
UNNAMED = "0" * 12
"""Stands for the generation while its name is being computed."""


def templates_dir() -> Path:
    """Where the templates are: in the package where it was installed as a wheel, beside it in a checkout."""
    packaged = PACKAGE / "_templates"
    return packaged if packaged.is_dir() else PACKAGE.parent / "templates"


def render(plan: Plan) -> tuple[tuple[RenderedFile, ...], str]:
    """Every file of the plan, sorted by path, and the generation: the name of nginx's configuration by its content.

    Raises:
        SpecError: a value that its syntax can't hold, or a template that is wrong; all of them at once.
    """
    environment = _environment()
    problems: list[Problem] = []

    def one(file: FilePlan, generation: str) -> RenderedFile | None:
        try:
            return _render(environment, file, generation)
        except SpecError as error:
            problems.extend(error.problems)
            return None

    ours = [one(file, UNNAMED) for file in plan.files if file.path.startswith("nginx/")]
    total = hashlib.sha256()
    for rendered in sorted((file for file in ours if file), key=lambda file: file.path):
        total.update(f"{rendered.path}\0{rendered.digest}\0".encode())
    generation = total.hexdigest()[:12]
    if not problems:
        everything = [one(file, generation) for file in sorted(plan.files, key=lambda file: file.path)]
    if problems:
        raise SpecError(*problems)
    return tuple(file for file in everything if file), generation


def render_files(files: Sequence[FilePlan], generation: str) -> tuple[RenderedFile, ...]:
    """These files, in their order.

    Raises:
        SpecError: a value that its syntax can't hold, or a template that is wrong.
    """
    environment = _environment()
    return tuple(_render(environment, file, generation) for file in files)


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(templates_dir()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 -- these are no HTML; each syntax has its own filter
    )
    environment.filters.update(FILTERS)
    return environment


def _render(environment: Environment, file: FilePlan, generation: str) -> RenderedFile:
    import jinja2

    at = ".".join(str(part) for part in file.spec_path)
    try:
        text = environment.get_template(file.template).render(_values(file.values, generation))
    except Unquotable as error:
        raise SpecError(Problem(at, f"{error} ({file.path})")) from error
    except jinja2.TemplateSyntaxError as error:
        place = Place(error.filename or file.template, error.lineno)
        raise SpecError(Problem("", f"the template is wrong: {error.message}", place=place)) from error
    except jinja2.TemplateError as error:
        place = Place(file.template, _template_line(error, file.template))
        raise SpecError(Problem("", f"the template is wrong: {error}", place=place)) from error
    digest = hashlib.sha256(text.encode()).hexdigest()
    return RenderedFile(file.path, text, digest, file.reason, file.spec_path, file.mode)


def _values(values: Mapping[str, object], generation: str) -> dict[str, object]:
    return {**values, "generation": generation}


def _template_line(error: BaseException, template: str) -> int | None:
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(template):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
