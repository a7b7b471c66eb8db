"""What is seen and which release is wanted again, to steps; also after something that was killed."""

from __future__ import annotations

import pytest
from test_reconcile import app, desired

from deploykit.converge.rollback import chosen, going_back
from deploykit.errors import EnvironmentLacks, SpecError
from deploykit.plan import (
    DiscardRelease,
    EndOrphans,
    Member,
    NginxSeen,
    Observed,
    Origin,
    Release,
    RemoveLeftovers,
    RunNginx,
    StartMember,
    Step,
    StopMember,
    SwitchRelease,
)

OLD, LIVE, HALF = "old", "live", "half"


def member(slot: int, release: str) -> Member:
    return Member("web", slot, release, "running", True, None, 0, None)


def seen(**more: object) -> Observed:
    found = {
        "members": (member(1, LIVE), member(2, LIVE)),
        "complete": {"web": tuple(Release("web", each, {}, Origin()) for each in (LIVE, OLD))},
        "live": {"web": LIVE},
        "nginx": NginxSeen(state="running", live="gen", on_disk="gen"),
        "base_ready": True,
        "apps_known": ("web",),
    }
    return Observed(**{**found, **more})  # type: ignore[arg-type]


def steps(observed: Observed) -> list[tuple[object, ...]]:
    changes, _ = going_back(desired(app()), observed, observed.complete["web"][1])
    return [_told(step) for step in changes.steps]


def _told(step: Step) -> tuple[object, ...]:
    values = {name: value for name, value in vars(step).items() if name not in ("cause", "app", "before", "previous")}
    return (type(step), *values.values())


THERE = [(StartMember, 1, OLD), (StartMember, 2, OLD), (SwitchRelease, OLD)]
AWAY = [(StopMember, 1, LIVE), (StopMember, 2, LIVE)]


def test_the_older_one_is_started_then_switched_to_then_the_other_stopped() -> None:
    assert steps(seen()) == THERE + AWAY


def test_files_of_the_release_that_is_left_stay_answered() -> None:
    def answered(observed: Observed) -> list[str]:
        changes, _ = going_back(desired(app()), observed, observed.complete["web"][1])
        return [step.previous for step in changes.steps if isinstance(step, SwitchRelease)]

    assert answered(seen()) == [LIVE]
    # A switch that was killed in its middle has left the name behind.
    assert answered(seen(live={}, previous={"web": LIVE})) == [LIVE]


def test_what_something_that_was_killed_left_goes_too() -> None:
    left = seen(orphans=("probe",), incomplete=(("web", HALF),))
    assert steps(left) == [(EndOrphans, ("probe",)), *THERE, *AWAY, (DiscardRelease, HALF)]


def test_members_of_a_release_that_was_not_switched_to_yet_are_stopped() -> None:
    left = seen(members=(member(1, LIVE), member(2, LIVE), member(1, HALF)))
    assert steps(left) == [*THERE, *AWAY, (StopMember, 1, HALF)]


def test_nginx_runs_what_is_on_disk_again() -> None:
    def after(nginx: NginxSeen) -> list[tuple[object, ...]]:
        return [step for step in steps(seen(nginx=nginx)) if step[0] is RunNginx]

    assert after(NginxSeen(state="running", live="before", on_disk="gen")) == [(RunNginx, "gen", "reload")]
    assert after(NginxSeen(state="running", live="", on_disk="gen")) == [(RunNginx, "gen", "replace")]
    assert after(NginxSeen(state="stopped", live="", on_disk="gen")) == [(RunNginx, "gen", "start")]


def test_where_the_slots_name_no_release_all_that_there_are_get_it() -> None:
    assert steps(seen(live={}, members=(member(1, LIVE),)))[:2] == [(StartMember, 1, OLD), (SwitchRelease, OLD)]
    assert steps(seen(live={}, members=()))[:3] == THERE


def test_before_nginx_ever_had_a_configuration_there_is_nothing_to_go_back_to() -> None:
    with pytest.raises(EnvironmentLacks) as caught:
        steps(seen(nginx=NginxSeen()))
    assert "deploykit up" in str(caught.value)


def test_the_live_one_is_refused_unless_something_killed_left_work_behind_its_switch() -> None:
    with pytest.raises(SpecError):
        chosen(seen(), LIVE)
    left = seen(members=(member(1, LIVE), member(2, LIVE), member(1, OLD)), leftovers=("nginx/abc",))
    changes, _ = going_back(desired(app()), left, chosen(left, LIVE))
    assert [_told(step) for step in changes.steps] == [(StopMember, 1, OLD), (RemoveLeftovers, ("nginx/abc",))]


def test_an_instance_that_the_live_one_lacks_is_started_and_switched_to() -> None:
    stopped = Member("web", 2, LIVE, "stopped", None, None, 0, None)
    left = seen(members=(member(1, LIVE), stopped))
    changes, _ = going_back(desired(app()), left, chosen(left, LIVE))
    assert [_told(step) for step in changes.steps] == [(StartMember, 2, LIVE), (SwitchRelease, LIVE)]
