"""The plan of a loaded spec: the one place where the planner meets the files of a checkout."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import cast

from deploykit import disk, planner, source
from deploykit.errors import SpecError
from deploykit.plan import Build, Facts, Plan, TargetName
from deploykit.spec.environments import LOCAL
from deploykit.spec.load import Source
from deploykit.spec.model import Spec


def plan_spec(
    spec: Spec,
    origin: Source,
    folder: Path,
    facts: Facts,
    target: str,
    builds: Mapping[str, Build] = MappingProxyType({}),
) -> Plan:
    """The plan of a loaded spec; of an app in `builds` the source is not looked at.

    Raises:
        SpecError: what can't be honoured, with places, in line order.
    """
    with disk.explained("can't read the source"):
        listings = {
            name: builds[name].files if name in builds else source.listing(folder / app.source)
            for name, app in spec.apps.items()
        }
    try:
        return planner.build_plan(spec, facts, listings, cast(TargetName, target), origin.environment == LOCAL)
    except SpecError as error:
        raise SpecError(*origin.locate(error.problems)) from error
