"""What every runtime promises, whatever it runs on. The tests of one stack build on each other, in this order."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator

import pytest
from small import SECRET, Small, eventually

from deploykit.errors import DeployFailed
from deploykit.plan import Desired, NginxSeen, Observed, RenderedFile, StageNginx

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A small stack that nothing was done with yet; nothing of it stays."""
    stack = Small(request.param, tmp_path_factory.mktemp("contract") / "small")
    yield stack
    stack.remove()


def lasting(observed: Observed) -> Observed:
    """What was seen, without what changes by itself."""
    members = tuple(dataclasses.replace(member, memory_bytes=None) for member in observed.members)
    return dataclasses.replace(observed, members=members, nginx=dataclasses.replace(observed.nginx, memory_bytes=None))


def test_nothing_is_there_before(small: Small) -> None:
    observed = small.observed()
    assert not observed.anything
    assert (observed.members, observed.complete, observed.live, observed.orphans) == ((), {}, {}, ())
    assert observed.nginx == NginxSeen()
    assert small.session.runtime.volumes_kept() == ()


def test_all_steps_end_in_a_stack_that_answers(small: Small) -> None:
    small.up()
    seen = json.loads(small.get().body)
    assert (seen["word"], seen["made"], seen["secret"]) == ("first", True, SECRET)
    assert small.get("/static/style.css").body == "body {}\n"


def test_what_is_observed_is_what_was_asked_for(small: Small) -> None:
    desired, observed = small.desired(), small.observed()
    release = desired.releases["web"]
    assert [(m.app, m.slot, m.release, m.state, m.healthy) for m in observed.members] == [
        ("web", 1, release.id, "running", True),
        ("web", 2, release.id, "running", True),
    ]
    assert observed.live == {"web": release.id}
    assert observed.complete == {"web": (release,)}
    assert observed.incomplete == ()
    assert (observed.nginx.state, observed.nginx.on_disk, observed.nginx.live, observed.nginx.shape) == (
        "running",
        desired.generation,
        desired.generation,
        desired.plan.nginx_shape,
    )
    assert observed.base_ready
    assert observed.orphans == ()
    assert observed.apps_known == ("web",)
    assert all(member.memory_bytes and member.since and member.restarts == 0 for member in observed.members)


def test_nothing_has_to_change_then_and_a_second_look_sees_the_same(small: Small) -> None:
    assert small.steps() == ()
    assert lasting(small.observed()) == lasting(small.observed())


def test_each_instance_answers_by_itself(small: Small) -> None:
    answers = small.session.runtime.ask_members(small.desired())
    assert {key: (answer.status, answer.body) for key, answer in answers.items()} == {
        ("web", 1): (200, "fine"),
        ("web", 2): (200, "fine"),
    }


def test_nginx_accepts_its_files_and_they_are_those_that_were_rendered(small: Small) -> None:
    desired = small.desired()
    accepted = small.session.runtime.nginx_accepts(desired)
    assert accepted.exit_code == 0, accepted.output
    rendered = {file.path: file.digest for file in desired.nginx_files()}
    assert small.session.runtime.nginx_files_on_disk() == rendered


def test_the_generation_is_told_to_nginx_own_loopback(small: Small) -> None:
    from deploykit.wire import Request

    port = small.port if small.target == "process" else int(small.desired().plan.layout.listen.rpartition(":")[2])
    request = Request(f"127.0.0.1:{port}", "/generation", host="deploykit.invalid")
    answer = small.session.runtime.exchange("nginx", [request])[0]
    assert answer.body.strip() == small.desired().generation


def test_logs_hold_what_an_app_says(small: Small) -> None:
    small.get("/say?something")
    runtime = small.session.runtime

    def said() -> set[str]:
        return {line.name for line in runtime.logs([], lines=200, follow=False) if line.text == "said something"}

    assert eventually(said) < {"web-1", "web-2"}
    assert {line.name for line in runtime.logs(["nginx"], lines=5, follow=False)} == {"nginx"}


def test_logs_are_followed(small: Small) -> None:
    heard: list[str] = []

    def listen() -> None:
        for line in small.session.runtime.logs(["web-1", "web-2"], lines=0, follow=True):
            heard.append(line.text)
            if len(heard) == 3:
                return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()

    def said() -> bool:
        small.get("/say?more")
        return not listener.is_alive()

    assert eventually(said)
    assert heard == ["said more"] * 3


def test_a_one_off_has_the_app_s_environment_and_gives_its_exit_code(
    small: Small, capfd: pytest.CaptureFixture[str]
) -> None:
    code = "import os, sys; print(os.environ['TOKEN'], os.path.exists('made-by-release')); sys.exit(7)"
    assert small.session.runtime.run("web", ["python", "-c", code], tty=False) == 7
    assert f"{SECRET} True" in capfd.readouterr().out


def test_processes_and_hosts_are_named_alike(small: Small) -> None:
    runtime = small.session.runtime
    assert set(runtime.hosts()) == {"nginx", "web-1", "web-2"}
    assert set(runtime.process_ids()) <= {"nginx", "web-1", "web-2"}
    for host in runtime.hosts().values():
        assert host.run("true").rc == 0


def test_a_restart_gives_a_new_process_of_the_same_release(small: Small) -> None:
    def second() -> tuple[str, float | None]:
        member = next(member for member in small.observed().members if member.slot == 2)
        return member.release, member.since

    (release, since), _ = second(), small.session.runtime.restart("web", 2)
    again, later = second()
    assert again == release
    assert later is not None and since is not None and later > since
    assert small.steps() == ()


def test_a_change_of_the_code_is_a_new_release_and_nothing_else(small: Small) -> None:
    before = small.observed()
    small.edit("small.py", '"first"', '"second"')
    kinds = [type(step).__name__ for step in small.up()]
    assert kinds == [
        "BuildRelease",
        "RunReleaseCommands",
        "StartMember",
        "StartMember",
        "SwitchRelease",
        "StopMember",
        "StopMember",
    ]
    assert small.word() == "second"
    after = small.observed()
    assert after.live["web"] != before.live["web"]
    assert [release.id for release in after.complete["web"]] == [after.live["web"], before.live["web"]]
    assert {member.release for member in after.members} == {after.live["web"]}
    assert after.nginx.since == before.nginx.since
    assert json.loads(small.get().body)["starts"] > 2, "the volume outlives releases"


def test_a_release_that_does_not_start_leaves_what_served(small: Small) -> None:
    before = lasting(small.observed())
    small.edit("small.py", "import json\n", "import json\nimport nowhere_to_be_found\n")
    with pytest.raises(DeployFailed) as caught:
        small.up()
    failure = caught.value.failure
    assert "web-1" in failure.what
    assert any("nowhere_to_be_found" in line for line in failure.log_lines)
    assert "nowhere_to_be_found" in failure.cause
    assert small.word() == "second"
    after = lasting(small.observed())
    assert (after.members, after.live, after.nginx, after.orphans) == (
        before.members,
        before.live,
        before.nginx,
        before.orphans,
    )
    small.edit("small.py", "import nowhere_to_be_found\n", "")


def test_a_release_command_that_fails_leaves_nothing_half_built(small: Small) -> None:
    before = small.observed()
    small.edit("deploykit.yaml", "[touch made-by-release]", "[\"python -c 'print(4); raise SystemExit(3)'\"]")
    with pytest.raises(DeployFailed) as caught:
        small.up()
    assert "exit code 3" in caught.value.failure.what
    assert caught.value.failure.log_lines[-1] == "4"
    after = small.observed()
    assert (after.incomplete, after.live) == ((), before.live)
    small.edit("deploykit.yaml", "[\"python -c 'print(4); raise SystemExit(3)'\"]", "[touch made-by-release]")


def broken(desired: Desired) -> Desired:
    """The same, with an nginx configuration that nginx refuses."""
    import hashlib

    def spoiled(file: RenderedFile) -> RenderedFile:
        if not file.path.startswith("nginx/sites/"):
            return file
        text = file.text + "nonsense on;\n"
        return dataclasses.replace(file, text=text, digest=hashlib.sha256(text.encode()).hexdigest())

    return dataclasses.replace(desired, files=tuple(map(spoiled, desired.files)), generation="0123456789ab")


def test_a_configuration_that_nginx_refuses_never_goes_live(small: Small) -> None:
    before = lasting(small.observed())
    with pytest.raises(DeployFailed) as caught:
        small.session.runtime.apply(StageNginx("a test", "0123456789ab"), broken(small.desired()))
    assert any("nonsense" in line for line in caught.value.failure.log_lines)
    assert lasting(small.observed()) == before
    assert small.word() == "second"


def test_a_change_of_the_sites_is_a_reload_that_nginx_confirms(small: Small) -> None:
    before = small.observed()
    small.edit("deploykit.yaml", "/static/: {files: static/}", "/static/: {files: static/, cache_control: immutable}")
    kinds = [type(step).__name__ for step in small.up()]
    assert kinds == ["StageNginx", "RunNginx"]
    after = small.observed()
    assert after.nginx.live == after.nginx.on_disk == small.desired().generation != before.nginx.live
    assert after.nginx.since == before.nginx.since
    assert "immutable" in small.get("/static/style.css").header("cache-control")


def test_fewer_instances_and_more_again(small: Small) -> None:
    small.edit("deploykit.yaml", "[{weight: 3}, {weight: 1}]", "1")
    small.up()
    assert [member.slot for member in small.observed().members] == [1]
    assert small.steps() == ()
    small.edit("deploykit.yaml", "instances: 1", "instances: 3")
    small.up()
    assert [member.slot for member in small.observed().members] == [1, 2, 3]
    assert {answer.status for answer in small.session.runtime.ask_members(small.desired()).values()} == {200}
    assert small.steps() == ()


def test_down_leaves_data_and_nothing_else(small: Small) -> None:
    kept = small.down()
    assert len(kept) == 1
    assert small.session.runtime.volumes_kept() == kept
    observed = small.observed()
    assert not observed.anything
    assert (observed.members, observed.complete, observed.live, observed.orphans) == ((), {}, {}, ())
    assert observed.nginx == NginxSeen()
    assert small.get().status == 0


def test_data_is_there_again_after_the_next_up(small: Small) -> None:
    small.up()
    assert json.loads(small.get().body)["starts"] > 5
    assert small.down(volumes=True) == ()
    assert small.session.runtime.volumes_kept() == ()


def test_down_of_nothing_is_no_error(small: Small) -> None:
    assert small.down() == ()
