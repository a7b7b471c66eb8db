"""What the docker runtime stands on, one layer below it: the Engine's connection, volumes, containers, images.

`engine_answers` and `base_images_reachable` are for the choice of a target before there is a runtime.
"""

from __future__ import annotations

from deploykit.spec.model import Spec


def engine_answers() -> str | None:
    """Why no Engine can be used from here, in a few words; None where one answers."""
    from deploykit.engine import connection

    return connection.why_no_engine()


def base_images_reachable(spec: Spec) -> tuple[bool, str]:
    """Whether the base images of that spec are there or can be pulled, and how that is known; pulls nothing."""
    from deploykit.engine import bases

    return bases.reachable(spec)
