"""`deploykit build`: each app's image, made once, for every environment."""

from __future__ import annotations

from typing import Annotated

import typer

from deploykit.cli import reach
from deploykit.cli.options import Json, Options
from deploykit.cli.progress import open_progress
from deploykit.cli.words import plain
from deploykit.errors import Problem, SpecError


def build(
    options: Options,
    push: Annotated[bool, typer.Option("--push", help="Put the images into `images.registry`.")] = False,
    json: Json = False,
) -> int:
    """Build the image of each app, without starting anything.

    The image has the code and what it needs, and no setting or secret of an environment. The id that is printed is for
    `deploykit up --release ID`, in any environment and on any Engine that can get the image. Uses your docker login.
    """
    console = options.console
    session = reach.session(options, "docker")
    if session.spec.target == "process":
        what = "the target process makes each release where it runs; there is no image to build"
        raise SpecError(
            *session.source.locate([Problem("target", what, "build in an environment with `target: docker`")])
        )
    with open_progress(console) as progress:
        made = session.build(progress, push=push)
    identity = next(iter(made.values()))[0].id
    if json:
        images = {app: {**plain(each), "made": is_new} for app, (each, is_new) in made.items()}
        for image in images.values():
            del image["files"]
        console.answer_json({"name": session.spec.name, "release": identity, "pushed": push, "images": images})
        return 0
    for app, (each, is_new) in made.items():
        console.talk(f" {app}: {each.image}{'' if is_new else '  (was there)'}")
    console.answer(identity)
    console.talk(f" promote it: deploykit up{options.again} --release {identity}", "dim")
    return 0
