"""`deploykit images build`: base images from Debian packages, where no registry can be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from deploykit.cli import reach
from deploykit.cli.options import Options
from deploykit.cli.progress import open_progress

if TYPE_CHECKING:
    from deploykit.engine.base_images import Suite


def build(
    options: Options,
    debian: Annotated[
        str, typer.Option("--debian", metavar="NAME", help="bookworm (Python 3.11, nginx 1.22) or trixie (3.13, 1.26).")
    ] = "bookworm",
    force: Annotated[bool, typer.Option("--force", help="Build them also where they are there.")] = False,
) -> int:
    """Build the base images for Python and nginx from Debian's packages.

    Needs root and mmdebstrap or debootstrap; the Engine gets them as deploykit/python and deploykit/nginx.
    """
    from deploykit.engine import base_images

    console = options.console
    reach.known_name("Debian", debian, base_images.BASES)
    with open_progress(console) as progress:
        made = base_images.build(cast("Suite", debian), progress.tell, force=force)
    for name in made:
        console.answer(name)
    if not made:
        console.talk("nothing to build")
    return 0
