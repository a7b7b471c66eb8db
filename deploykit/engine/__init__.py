"""What the docker runtime stands on, one layer below it: the Engine's connection, volumes, containers, images.

`engine_answers` and `base_images_reachable` are for the choice of a target before there is a runtime, and
`chosen_engine` is for telling people whose Engine it is.
"""

from __future__ import annotations

from deploykit.spec.model import Spec


def engine_answers() -> str | None:
    """Why no Engine can be used from here, in a few words; None where one answers.

    Raises:
        EnvironmentLacks: one was chosen, and it does not answer.
    """
    from deploykit.engine import connection

    return connection.why_no_engine()


def chosen_engine() -> str:
    """The address of the Engine that DOCKER_HOST or a docker context names; empty where nobody chose one."""
    from deploykit.engine import connection

    return connection.chosen_address()


def base_images_reachable(spec: Spec) -> tuple[bool, str]:
    """Whether the base images of that spec are there or can be pulled, and how that is known; pulls nothing."""
    from deploykit.engine import bases

    return bases.reachable(spec)
