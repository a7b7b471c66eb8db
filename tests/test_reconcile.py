"""What is wanted and what was seen, to steps: given this, the steps read so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from deploykit.plan import (
    AppPlan,
    BuildRelease,
    Desired,
    DiscardRelease,
    Facts,
    Layout,
    Member,
    NginxBuild,
    NginxSeen,
    Observed,
    Plan,
    Probe,
    Release,
    RunNginx,
    Slot,
    StartMember,
    Step,
    StopMember,
    SwitchRelease,
)
from deploykit.reconcile import reconcile, undo

FACTS = Facts(NginxBuild((1, 22, 1), frozenset()), {"web": "3.11.7"}, 2, 1 << 30, "shop")
PROBE = Probe("/", "localhost", (200, 499), "", 3, 3, 30)


def app(name: str = "web", slots: int = 2) -> AppPlan:
    return AppPlan(
        name=name,
        source=".",
        framework="wsgi",
        entrypoint="app:app",
        python="3.11",
        requirements="",
        server="gunicorn",
        server_requirement="gunicorn",
        protocol="http",
        socket="unix",
        workers=1,
        threads=4,
        sizing="",
        command=("gunicorn",),
        stop_signal="TERM",
        stop_grace_seconds=35,
        slots=tuple(Slot(n, 1, f"unix:run/{name}/{n}.sock") for n in range(1, slots + 1)),
        balance="round_robin",
        environment={},
        secrets=(),
        env_file="",
        release_commands=(),
        volumes={},
        static_folders=(),
        probe=PROBE,
        monitor_seconds=2.0,
        spec_path=("apps", name),
    )


def desired(*apps: AppPlan, release: str = "new", generation: str = "gen2") -> Desired:
    plan = Plan("shop", "process", Layout(".", "", "", ""), "127.0.0.1", 8080, (), apps, (), (), FACTS)
    parts = {"code": release}
    return Desired(plan, (), generation, {each.name: Release(each.name, release, parts) for each in apps})


def running(wanted: Desired, release: str = "new", generation: str = "gen2") -> Observed:
    members = tuple(
        Member(each.name, slot.number, release, "running", True) for each in wanted.plan.apps for slot in each.slots
    )
    return Observed(
        members=members,
        complete={each.name: (Release(each.name, release, {"code": release}),) for each in wanted.plan.apps},
        live={each.name: release for each in wanted.plan.apps},
        nginx=NginxSeen("running", generation, generation, wanted.plan.nginx_shape),
        base_ready=True,
        apps_known=tuple(each.name for each in wanted.plan.apps),
    )


def read(steps: tuple[Step, ...]) -> list[str]:
    lines = []
    for step in steps:
        values = [str(v) for k, v in vars(step).items() if k != "cause" and v != ""]
        lines.append(" ".join([type(step).__name__, *values]) + (f", because {step.cause}" if step.cause else ""))
    return lines


def test_a_stack_as_wanted_needs_no_step() -> None:
    wanted = desired(app())
    changes = reconcile(wanted, running(wanted))
    assert changes.steps == ()


def test_the_first_time_everything_is_made_and_nginx_comes_last() -> None:
    changes = reconcile(desired(app(slots=1)), Observed())
    assert read(changes.steps) == [
        "PrepareBase, because nothing of this stack is here yet",
        "StageNginx gen2, because it has no configuration yet",
        "BuildRelease web new, because not there yet",
        "RunReleaseCommands web new",
        "StartMember web 1 new, because not there yet",
        "SwitchRelease web new, because nothing served before",
        "RunNginx gen2 start, because it does not run",
    ]


def test_new_code_starts_beside_the_old_release_which_is_stopped_only_after_the_checks() -> None:
    wanted = desired(app())
    changes = reconcile(wanted, running(wanted, release="old"))
    assert read(changes.deploy) == [
        "BuildRelease web new, because its code changed",
        "RunReleaseCommands web new",
        "StartMember web 1 new, because its code changed",
        "StartMember web 2 new, because its code changed",
        "SwitchRelease web new old old, because the new release is healthy",
    ]
    assert read(changes.retire) == [
        "StopMember web 1 old, because a newer release serves",
        "StopMember web 2 old, because a newer release serves",
    ]


def test_an_app_that_did_not_change_is_left_alone() -> None:
    wanted = desired(app("web", 1), app("api", 1))
    seen = running(wanted)
    old = replace(
        seen,
        members=tuple(replace(m, release="old") if m.app == "api" else m for m in seen.members),
        live={"web": "new", "api": "old"},
        complete={"web": seen.complete["web"], "api": (Release("api", "old", {"code": "old"}),)},
    )
    assert all(getattr(step, "app", "api") == "api" for step in reconcile(wanted, old).steps)


def test_a_changed_configuration_is_staged_and_reloaded_without_touching_the_apps() -> None:
    wanted = desired(app())
    changes = reconcile(wanted, running(wanted, generation="gen1"))
    assert read(changes.steps) == [
        "StageNginx gen2, because its configuration changed",
        "RunNginx gen2 reload gen1, because its configuration changed",
    ]


def test_a_reload_that_never_took_effect_is_done_again() -> None:
    wanted = desired(app())
    seen = running(wanted)
    stale = replace(seen, nginx=replace(seen.nginx, live="gen1"))
    assert read(reconcile(wanted, stale).steps) == ["RunNginx gen2 reload gen2, because its configuration changed"]


def test_an_nginx_that_tells_nothing_is_replaced() -> None:
    wanted = desired(app())
    seen = running(wanted)
    silent = replace(seen, nginx=replace(seen.nginx, live=""))
    assert read(reconcile(wanted, silent).steps) == [
        "RunNginx gen2 replace gen2, because it does not tell what it runs"
    ]


def test_nginx_is_replaced_where_a_reload_can_not_do() -> None:
    wanted = desired(app())
    seen = running(wanted)
    other = replace(seen, nginx=replace(seen.nginx, shape="other"))
    assert [step.how for step in reconcile(wanted, other).steps if isinstance(step, RunNginx)] == ["replace"]


@pytest.mark.parametrize(("state", "healthy", "why"), [("failed", None, "failed"), ("running", False, "not healthy")])
def test_a_member_that_is_down_is_started_again(state: str, healthy: bool | None, why: str) -> None:
    wanted = desired(app())
    seen = running(wanted)
    ill = replace(seen.members[1], state=state, healthy=healthy)
    changes = reconcile(wanted, replace(seen, members=(seen.members[0], ill)))
    assert [line.split(",")[0] for line in read(changes.steps)] == [
        "StopMember web 2 new",
        "StartMember web 2 new",
        "SwitchRelease web new new",
    ]
    assert why in changes.deploy[0].cause


def test_a_smaller_number_of_instances_stops_the_rest_after_nginx_forgot_them() -> None:
    before = desired(app(slots=3))
    wanted = desired(app(slots=2), generation="gen3")
    changes = reconcile(wanted, running(before))
    assert isinstance(changes.deploy[-1], RunNginx)
    assert read(changes.retire) == ["StopMember web 3 new, because the spec has fewer instances"]


def test_an_app_that_left_the_spec_is_stopped_and_its_releases_removed() -> None:
    before = desired(app("web", 1), app("api", 1))
    wanted = desired(app("web", 1), generation="gen3")
    changes = reconcile(wanted, running(before))
    assert read(changes.retire) == [
        "StopMember api 1 new, because the spec has no such app any more",
        "DiscardRelease api new, because the spec has no such app any more",
    ]


def test_five_releases_are_kept() -> None:
    wanted = desired(app(slots=1))
    seen = running(wanted, release="r1")
    old = tuple(Release("web", f"r{n}", {"code": str(n)}) for n in range(1, 8))
    changes = reconcile(wanted, replace(seen, complete={"web": old}))
    assert [line.split(",")[0] for line in read(changes.retire)][1:] == [
        "DiscardRelease web r5",
        "DiscardRelease web r6",
        "DiscardRelease web r7",
    ]


def test_what_an_interrupted_run_left_is_discarded_unless_it_is_wanted() -> None:
    wanted = desired(app())
    seen = replace(running(wanted, release="old"), incomplete=(("web", "new"), ("web", "other")))
    steps = read(reconcile(wanted, seen).steps)
    assert "DiscardRelease web other, because an interrupted run left it half built" in steps
    assert not any(line.startswith("DiscardRelease web new") for line in steps)


def test_orphans_are_ended_first() -> None:
    wanted = desired(app())
    steps = reconcile(wanted, replace(running(wanted), orphans=("nginx 4711",))).steps
    assert read(steps) == ["EndOrphans ('nginx 4711',), because left behind by something that was killed"]


def test_files_that_nothing_needs_are_removed_last() -> None:
    wanted = desired(app())
    seen = replace(running(wanted, release="old"), leftovers=("nginx/abc", "venvs/def"))
    steps = read(reconcile(wanted, seen).steps)
    assert steps[-1].startswith("RemoveLeftovers ('nginx/abc', 'venvs/def')")
    assert len(steps) > 1


def test_going_back_switches_first_and_stops_the_new_members_last() -> None:
    done = [
        StartMember("", "web", 1, "new"),
        SwitchRelease("", "web", "new", "old"),
        RunNginx("", "gen2", "reload", "gen1"),
    ]
    back = undo(done, running(desired(app(slots=1)), release="old"))
    assert [line.split(",")[0] for line in read(back)] == [
        "RunNginx gen1 reload gen2",
        "SwitchRelease web old new",
        "StopMember web 1 new",
    ]


def switches(steps: Sequence[Step]) -> list[tuple[str, str]]:
    """(release, the one whose hashed files stay answered) of each switch."""
    return [(step.release, step.previous) for step in steps if isinstance(step, SwitchRelease)]


def test_files_of_the_release_before_stay_answered_until_the_next_one() -> None:
    wanted = desired(app())
    earlier = {"web": "older"}
    changed = replace(running(wanted, release="old"), previous=earlier)
    assert switches(reconcile(wanted, changed).steps) == [("new", "old")]
    half = replace(changed, live={}, previous={"web": "old"})
    assert switches(reconcile(wanted, half).steps) == [("new", "old")], "a switch that was cut off"
    seen = running(wanted)
    ill = replace(seen, members=(seen.members[0],), previous=earlier)
    assert switches(reconcile(wanted, ill).steps) == [("new", "older")], "the same release, with an instance more"


def test_going_back_answers_the_files_that_were_answered_then() -> None:
    seen = replace(running(desired(app()), release="old"), previous={"web": "older"})
    assert switches(undo([SwitchRelease("", "web", "new", "old", "old")], seen)) == [("old", "older")]


def test_a_release_whose_files_are_answered_is_kept() -> None:
    wanted = desired(app(slots=1))
    all_of_them = tuple(Release("web", name, {"code": name}) for name in ("new", "r1", "r2", "r3", "r4", "r5"))
    seen = replace(running(wanted), complete={"web": all_of_them}, previous={"web": "r5"})
    assert read(reconcile(wanted, seen).steps) == ["DiscardRelease web r4, because only the last 5 are kept"]


def test_going_back_leaves_nothing_of_a_release_that_never_served_but_an_apps_first() -> None:
    done = [BuildRelease("", "web", "new"), StartMember("", "web", 1, "new")]
    back = undo(done, running(desired(app(slots=1)), release="old"))
    assert [line.split(",")[0] for line in read(back)] == ["StopMember web 1 new", "DiscardRelease web new"]
    assert [line.split(",")[0] for line in read(undo(done, Observed()))] == ["StopMember web 1 new"]


def test_going_back_never_stops_a_member_that_served_before() -> None:
    wanted = desired(app(slots=1))
    assert undo([StartMember("", "web", 1, "new")], running(wanted)) == ()


def test_what_serves_goes_on_serving_until_the_next_one_does_also_where_a_part_of_it_is_gone() -> None:
    wanted = desired(app())
    changes = reconcile(wanted, replace(running(wanted, release="old"), complete={}, incomplete=(("web", "old"),)))
    assert not [step for step in changes.deploy if isinstance(step, DiscardRelease)]
    assert [type(step) for step in changes.retire] == [StopMember, StopMember, DiscardRelease]
