"""Back to a release that is still there: what is live, what there is to go back to, and which plan that makes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from deploykit.errors import EnvironmentLacks, Problem, SpecError
from deploykit.plan import (
    AppPlan,
    Check,
    Desired,
    DiscardRelease,
    EndOrphans,
    Observed,
    Plan,
    Release,
    RemoveLeftovers,
    RunNginx,
    Slot,
    StartMember,
    Step,
    StopMember,
    SwitchRelease,
)
from deploykit.reconcile import Changes, still_answered

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


def stays_applied(observed: Observed, release: Release) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The release commands that going back to a release does not undo, each with the later releases it ran for."""
    found: dict[str, list[str]] = {}
    for each in known(observed):
        later = each.release
        if later.app == release.app and later.origin.at > release.origin.at:
            for command in later.origin.commands:
                found.setdefault(command, []).append(later.id)
    return tuple((command, tuple(releases)) for command, releases in found.items())


def chosen(observed: Observed, wanted: str) -> Release:
    """The release whose id starts like that.

    Raises:
        SpecError: none does, several do, or it is the live one.
        EnvironmentLacks: one does, and a part of it was removed or never finished.
    """
    found = [each for each in known(observed) if each.release.id.startswith(wanted)]
    half = [f"{release} of {app}" for app, release in observed.incomplete if wanted and release.startswith(wanted)]
    if half and not found:
        raise EnvironmentLacks(
            f"the release {half[0]} is not there any more as a whole, so nothing was changed",
            hint="`deploykit releases` lists those that are; `deploykit up` on its commit builds it again",
        )
    if len(found) != 1:
        ids = ", ".join(f"`{each.release.id}` ({each.release.app})" for each in known(observed) if not each.live)
        what = "several releases start" if found else "there is no release that starts"
        raise SpecError(
            Problem("", f"{what} with `{wanted}`", f"one of {ids}" if ids else "there is none to go back to")
        )
    if found[0].live and not _unfinished(observed, found[0].release):
        raise SpecError(Problem("", f"release `{found[0].release.id}` of {found[0].release.app} is the live one"))
    return found[0].release


def _unfinished(observed: Observed, live: Release) -> bool:
    """Whether something that was killed left work behind its switch to that release."""
    # One that was started a moment ago still counts as starting, and serves.
    there = ("running", "starting")
    others = any(m.app == live.app and (m.release != live.id or m.state not in there) for m in observed.members)
    nginx = observed.nginx.state != "running" or observed.nginx.live != observed.nginx.on_disk
    return bool(others or nginx or observed.orphans or observed.incomplete or observed.leftovers)


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
    if not observed.nginx.on_disk:
        raise EnvironmentLacks("nginx has no configuration yet, so no release has served", hint="deploykit up")
    live = observed.live.get(app, "")
    members = [member for member in observed.members if member.app == app and live in (member.release, "")]
    slots = sorted({member.slot for member in members} or {slot.number for slot in plan.slots})
    running = {m.slot for m in observed.members if (m.app, m.release, m.state) == (app, release.id, "running")}
    wanted = {**_live_releases(observed), app: release}
    deploy: list[Step] = []
    if observed.orphans:
        deploy.append(EndOrphans("left behind by something that was killed", observed.orphans))
    deploy += [StartMember("going back", app, slot, release.id) for slot in slots if slot not in running]
    if live != release.id or len(deploy) > bool(observed.orphans):
        earlier = still_answered(app, release.id, observed)
        deploy.append(SwitchRelease("it is healthy", app, release.id, live, earlier))
    deploy.extend(_nginx(observed))
    return Changes(tuple(deploy), tuple(_retire(wanted, observed))), replace(
        desired, plan=_with_slots(desired.plan, plan, slots), generation=observed.nginx.on_disk, releases=wanted
    )


def _nginx(observed: Observed) -> Iterator[Step]:
    """nginx runs what is on disk, where something was killed or stopped meanwhile; its files stay as they are."""
    seen = observed.nginx
    if seen.state != "running":
        yield RunNginx("it does not run", seen.on_disk, "start", seen.on_disk)
    elif seen.live != seen.on_disk:
        yield RunNginx(
            "it does not run what is on disk", seen.on_disk, "reload" if seen.live else "replace", seen.on_disk
        )


def _retire(wanted: Mapping[str, Release], observed: Observed) -> Iterator[Step]:
    """What of any other release runs or was left half built; it may be of an `up` that was killed."""
    for member in observed.members:
        if member.app in wanted and member.release != wanted[member.app].id:
            yield StopMember("another release serves", member.app, member.slot, member.release)
    for app, release in observed.incomplete:
        if app not in wanted or wanted[app].id != release:
            yield DiscardRelease("an interrupted run left it half built", app, release)
    if observed.leftovers:
        yield RemoveLeftovers("an interrupted run left what nothing needs", observed.leftovers)


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
