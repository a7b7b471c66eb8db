"""What is wanted and what was seen, to the steps between them, each with its cause. Pure: no step is taken here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from deploykit.plan import (
    AppPlan,
    BuildRelease,
    Desired,
    DiscardRelease,
    EndOrphans,
    Member,
    Observed,
    PrepareBase,
    Release,
    RemoveLeftovers,
    RunNginx,
    RunReleaseCommands,
    StageNginx,
    StartMember,
    Step,
    StopMember,
    SwitchRelease,
)
from deploykit.releases import cause

KEPT_RELEASES = 5
"""How many releases of an app stay, the live one among them."""


@dataclass(frozen=True)
class Changes:
    """All that has to change: `deploy` until the new state serves, `retire` once its checks are kept."""

    deploy: tuple[Step, ...]
    retire: tuple[Step, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.deploy + self.retire


def reconcile(desired: Desired, observed: Observed) -> Changes:
    """The steps from what was seen to what is wanted; none where they are the same.

    The order keeps every request: a configuration is accepted before anything else is touched, a new release is
    healthy before it is switched to, and an old one is stopped only when nothing goes to it any more.
    """
    deploy: list[Step] = []
    if observed.orphans:
        deploy.append(EndOrphans("left behind by something that was killed", observed.orphans))
    if not observed.base_ready:
        deploy.append(PrepareBase("nothing of this stack is here yet" if not observed.apps_known else "not all there"))
    elif any(app.name not in observed.apps_known for app in desired.plan.apps):
        deploy.append(PrepareBase("a new app needs its own folders"))
    for name, release in _half(desired, observed):
        if observed.live.get(name) != release:
            deploy.append(DiscardRelease("an interrupted run left it half built", name, release))
    if observed.nginx.on_disk != desired.generation:
        deploy.append(StageNginx(_nginx_cause(observed), desired.generation))
    for app in desired.plan.apps:
        deploy.extend(_deploy_app(app, desired.releases[app.name], observed))
    deploy.extend(_nginx(desired, observed))
    return Changes(tuple(deploy), tuple(_retire(desired, observed)))


def _half(desired: Desired, observed: Observed) -> list[tuple[str, str]]:
    """(app, release) of what is not whole and not wanted."""
    return [
        (name, release)
        for name, release in observed.incomplete
        if name not in desired.releases or desired.releases[name].id != release
    ]


def _nginx_cause(observed: Observed) -> str:
    return "its configuration changed" if observed.nginx.on_disk else "it has no configuration yet"


def _deploy_app(app: AppPlan, release: Release, observed: Observed) -> Iterator[Step]:
    complete = {known.id: known for known in observed.complete.get(app.name, ())}
    live = observed.live.get(app.name, "")
    why = cause(release, complete.get(live)) if live != release.id else ""
    gone = "" if release.id in complete else "its files are gone"
    if gone:
        yield BuildRelease(why or gone, app.name, release.id)
        yield RunReleaseCommands("once per release" if app.release_commands else "", app.name, release.id)
    members = {(member.slot, member.release): member for member in observed.members if member.app == app.name}
    started = False
    for slot in app.slots:
        member = members.get((slot.number, release.id))
        # What runs from files that are gone, as in a folder that was moved, is started again from the new ones.
        reason = _start_reason(member, why) or gone
        if not reason:
            continue
        if member is not None:
            yield StopMember(reason, app.name, slot.number, release.id)
        yield StartMember(reason, app.name, slot.number, release.id)
        started = True
    if live != release.id or started:
        text = "the new release is healthy" if live else "nothing served before"
        reason = text if live != release.id else "a slot is new"
        yield SwitchRelease(reason, app.name, release.id, live, still_answered(app.name, release.id, observed))


def still_answered(app: str, wanted: str, observed: Observed) -> str:
    """The release before, whose hashed files stay answered once the wanted one serves: pages of it are still open."""
    live = observed.live.get(app, "")
    return live if live not in ("", wanted) else observed.previous.get(app, "")


def _start_reason(member: Member | None, why: str) -> str:
    if member is None:
        return why or "it does not run"
    if member.state in ("stopped", "failed"):
        return f"it has {member.state}"
    if member.healthy is False:
        return "it is not healthy"
    return ""


def _nginx(desired: Desired, observed: Observed) -> Iterator[Step]:
    seen, wanted = observed.nginx, desired.generation
    if seen.state != "running":
        yield RunNginx("it does not run", wanted, "start", seen.on_disk)
    elif seen.shape != desired.plan.nginx_shape:
        yield RunNginx("its ports, folders or program changed", wanted, "replace", seen.on_disk)
    elif not seen.live:
        # It hangs, or runs something else: what does not answer does not read a signal either.
        yield RunNginx("it does not tell what it runs", wanted, "replace", seen.on_disk)
    elif seen.live != wanted or seen.on_disk != wanted:
        yield RunNginx("its configuration changed", wanted, "reload", seen.on_disk)


def _retire(desired: Desired, observed: Observed) -> Iterator[Step]:
    slots = {app.name: {slot.number for slot in app.slots} for app in desired.plan.apps}
    for member in observed.members:
        wanted = desired.releases.get(member.app)
        if wanted is None:
            yield StopMember("the spec has no such app any more", member.app, member.slot, member.release)
        elif member.release != wanted.id:
            yield StopMember("a newer release serves", member.app, member.slot, member.release)
        elif member.slot not in slots[member.app]:
            yield StopMember("the spec has fewer instances", member.app, member.slot, member.release)
    for app, id in _half(desired, observed):
        if observed.live.get(app) == id:
            # Until now it served: somebody removed a part of it that only a start needs.
            yield DiscardRelease("a part of it was removed", app, id)
    for app, releases in observed.complete.items():
        wanted = desired.releases.get(app)
        if wanted is None:
            for release in releases:
                yield DiscardRelease("the spec has no such app any more", app, release.id)
            continue
        needed = {wanted.id, still_answered(app, wanted.id, observed)} - {""}
        others = [release for release in releases if release.id not in needed]
        for release in others[KEPT_RELEASES - len(needed) :]:
            yield DiscardRelease(f"only the last {KEPT_RELEASES} are kept", app, release.id)
    if observed.leftovers:
        yield RemoveLeftovers("an interrupted run left what nothing needs", observed.leftovers)


def undo(done: Sequence[Step], observed: Observed) -> tuple[Step, ...]:
    """The steps that bring back what served before, from those that were taken; what served is what was seen then.

    Where nothing served before, what was started is stopped again.
    """
    served = {(member.app, member.slot, member.release) for member in observed.members}
    back: list[Step] = []
    for step in reversed(done):
        match step:
            case SwitchRelease(app=app, release=release, before=before) if before and before != release:
                earlier = observed.previous.get(app, "")
                back.append(SwitchRelease("the new state failed", app, before, release, earlier))
            case RunNginx(generation=generation, before=before, how=how) if before and before != generation:
                again: Literal["reload", "replace"] = "replace" if how == "replace" else "reload"
                back.append(RunNginx("the new state failed", before, again, generation))
            case StartMember(app=app, slot=slot, release=release) if (app, slot, release) not in served:
                back.append(StopMember("the new state failed", app, slot, release))
            # Nobody shall go back to what never served. The first one of an app stays: mending it is quicker then.
            case BuildRelease(app=app, release=release) if observed.live.get(app):
                back.append(DiscardRelease("it never served", app, release))
            case _:
                pass
    return tuple(back)
