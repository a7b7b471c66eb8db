"""Back to a release that is still there: what is live, what there is to go back to, and which plan that makes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deploykit.errors import EnvironmentLacks, Problem, SpecError
from deploykit.plan import (
    AppPlan,
    Check,
    Desired,
    Observed,
    Plan,
    Release,
    Slot,
    StartMember,
    Step,
    StopMember,
    SwitchRelease,
)
from deploykit.reconcile import Changes

MEASURED = ("site_answers", "app_healthy", "instance_healthy", "user_check")
"""The promises that an older release may break; nginx and its files stay as they are."""


@dataclass(frozen=True)
class Known:
    """A release as `deploykit releases` tells it."""

    release: Release
    live: bool


def known(observed: Observed) -> tuple[Known, ...]:
    """Every whole release, app by app, newest first."""
    return tuple(
        Known(release, observed.live.get(app) == release.id)
        for app, found in sorted(observed.complete.items())
        for release in sorted(found, key=lambda release: release.origin.at, reverse=True)
    )


def chosen(observed: Observed, wanted: str) -> Release:
    """The release whose id starts like that.

    Raises:
        SpecError: none does, several do, or it is the live one.
    """
    found = [each for each in known(observed) if each.release.id.startswith(wanted)]
    if len(found) != 1:
        ids = ", ".join(f"`{each.release.id}` ({each.release.app})" for each in known(observed) if not each.live)
        what = "several releases start" if found else "there is no release that starts"
        raise SpecError(
            Problem("", f"{what} with `{wanted}`", f"one of {ids}" if ids else "there is none to go back to")
        )
    if found[0].live:
        raise SpecError(Problem("", f"release `{found[0].release.id}` of {found[0].release.app} is the live one"))
    return found[0].release


def going_back(desired: Desired, observed: Observed, release: Release) -> tuple[Changes, Desired]:
    """The steps to that release and what they are taken with; nothing is built, and nginx is not touched.

    Raises:
        EnvironmentLacks: the live nginx could not speak to it.
    """
    app = release.app
    try:
        plan = desired.plan.app(app)
    except KeyError:
        raise EnvironmentLacks(
            f"the spec has no app `{app}` any more", hint="put it back into the spec, then deploykit up"
        ) from None
    _same_words(plan, release, observed)
    live = observed.live.get(app, "")
    slots = sorted({member.slot for member in observed.members if member.app == app and member.release == live})
    running = {m.slot for m in observed.members if (m.app, m.release, m.state) == (app, release.id, "running")}
    deploy: list[Step] = [StartMember("going back", app, slot, release.id) for slot in slots if slot not in running]
    deploy.append(SwitchRelease("it is healthy", app, release.id, live))
    retire = tuple(StopMember("an older release serves again", app, slot, live) for slot in slots if live)
    wanted = {**_live_releases(observed), app: release}
    return Changes(tuple(deploy), retire), replace(
        desired, plan=_with_slots(desired.plan, plan, slots), generation=observed.nginx.on_disk, releases=wanted
    )


def _same_words(plan: AppPlan, release: Release, observed: Observed) -> None:
    live = next((each.release for each in known(observed) if each.live and each.release.app == release.app), None)
    spoken = live.origin.protocol if live else plan.protocol
    if release.origin.protocol and spoken and release.origin.protocol != spoken:
        raise EnvironmentLacks(
            f"nginx speaks {spoken} to {release.app}, and release {release.id} speaks {release.origin.protocol}",
            hint="check out its commit and run deploykit up",
        )
    if "tcp" in (release.origin.socket, plan.socket):
        raise EnvironmentLacks(
            f"{release.app} listens on TCP, where each release needs a configuration of nginx of its own",
            hint="check out its commit and run deploykit up",
        )


def _live_releases(observed: Observed) -> dict[str, Release]:
    return {each.release.app: each.release for each in known(observed) if each.live}


def _with_slots(plan: Plan, app: AppPlan, numbers: list[int]) -> Plan:
    """The plan with just the slots that the live nginx knows, also where the spec was changed since."""
    planned: Mapping[int, Slot] = {slot.number: slot for slot in app.slots}
    slots = tuple(planned.get(n, Slot(n, 1, f"unix:run/{app.name}/{n}.sock")) for n in numbers)
    apps = tuple(replace(each, slots=slots) if each.name == app.name else each for each in plan.apps)
    checks: tuple[Check, ...] = tuple(check for check in plan.checks if check.kind in MEASURED)
    return replace(plan, apps=apps, checks=checks)
