"""Whether who should answer does: sites by their names, apps through nginx, instances by themselves."""

from __future__ import annotations

from deploykit.plan import Check
from deploykit.proof.scene import (
    Scene,
    Seen,
    broken,
    counted,
    described,
    kept,
    number,
    refused,
    seconds,
    text,
    texts,
)
from deploykit.wire import Answer

__all__ = ["app_healthy", "instance_healthy", "redirects", "site_answers", "unknown_host_refused", "user_check"]

UNKNOWN_NAME = "deploykit-unknown.invalid"
UNKNOWN_ADDRESS = "203.0.113.7"
"""From a block that is nobody's (RFC 5737)."""

REFUSING = (400, 421)
"""Statuses that refuse a Host in words."""

UNKNOWN_TO_DJANGO = 400


def site_answers(scene: Scene, check: Check) -> Seen:
    """Each name of the site is answered, by the app that should and knows it, with no error of the server."""
    names, app = texts(check, "names"), text(check, "app")
    wait = seconds(check, "timeout_seconds")
    requests = [scene.request(name, text(check, "target"), timeout_seconds=wait, most_bytes=0) for name in names]
    answers = scene.ask(*requests)
    members = scene.slots(scene.plan.app(app)) if app else {}
    for name, answer in zip(names, answers, strict=True):
        if not 0 < answer.status < 500:
            return broken(f"{name}: {described(answer)}")
        if app and not any(member in members for member in answer.header("x-deploykit-member").split(", ")):
            return broken(f"{name}: {described(answer)}, but not by {app}")
        # Django says so to a name that it does not know, at every address; elsewhere it may be an answer to `/`.
        if app and answer.status == UNKNOWN_TO_DJANGO and scene.plan.app(app).framework == "django":
            return broken(f"{name}: {described(answer)} from {app}: is the name in ALLOWED_HOSTS?")
    return kept(counted(answers))


def redirects(scene: Scene, check: Check) -> Seen:
    """The client is sent where the spec says, with the rest of the path where that is promised, and its query."""
    answer = scene.ask(scene.request(text(check, "host"), text(check, "target")))[0]
    told = f"{described(answer)} {answer.header('location')}".rstrip()
    wanted = (number(check, "status"), text(check, "to"))
    return kept(told) if (answer.status, answer.header("location")) == wanted else broken(told)


def unknown_host_refused(scene: Scene, check: Check) -> Seen:
    """A Host that no site has, none at all, and an address as Host get no page."""
    known = texts(check, "names")
    asked = {"unknown name": UNKNOWN_NAME, "no Host": "", "an address": UNKNOWN_ADDRESS}
    if scene.plan.listen_host not in known:
        asked["its own address"] = scene.address("outside").rpartition(":")[0]
    answers = scene.ask(*[scene.request(host, "/") for host in asked.values()])
    for what, answer in zip(asked, answers, strict=True):
        if member := answer.header("x-deploykit-member"):
            return broken(f"{what}: {described(answer)} from {member}")
        if not refused(answer) and answer.status not in REFUSING:
            return broken(f"{what}: {described(answer)}")
    return kept(counted(answers))


def app_healthy(scene: Scene, check: Check) -> Seen:
    """The app answers its probe through nginx, at the latest at the last of its retries."""
    statuses = (number(check, "lowest"), number(check, "highest"))
    wait = seconds(check, "timeout_seconds")
    request = scene.request(text(check, "host"), text(check, "target"), timeout_seconds=wait)
    wrong = ""
    for attempt in range(1, number(check, "retries") + 1):
        answer = scene.ask(request)[0]
        wrong = unhealthy(answer, statuses, text(check, "contains"))
        if not wrong:
            again = f" at try {attempt}" if attempt > 1 else ""
            return kept(f"{answer.status} in {answer.seconds * 1000:.0f} ms{again}")
    return broken(f"{wrong} ({number(check, 'retries')} tries)")


def instance_healthy(scene: Scene, check: Check) -> Seen:
    """Every instance of the app answers its probe past nginx."""
    app = scene.plan.app(text(check, "app"))
    names = {slot.number: f"{app.name}-{slot.number}" for slot in app.slots}
    wrong: dict[int, str] = dict.fromkeys(names, "was not asked")
    for _ in range(number(check, "retries")):
        answers = scene.runtime.ask_members(scene.desired)
        for slot in list(wrong):
            answer = answers.get((app.name, slot))
            wrong[slot] = unhealthy(answer, app.probe.statuses, app.probe.contains) if answer else "does not run"
        wrong = {slot: why for slot, why in wrong.items() if why}
        if not wrong:
            return kept(f"{len(names)} of {len(names)} answer GET {app.probe.path}")
    return broken("; ".join(f"{names[slot]}: {why}" for slot, why in wrong.items()))


def user_check(scene: Scene, check: Check) -> Seen:
    """A check of the spec's own."""
    wait = seconds(check, "timeout_seconds")
    answer = scene.ask(scene.request(text(check, "host"), text(check, "target"), timeout_seconds=wait))[0]
    status, contains = number(check, "status"), text(check, "contains")
    wrong = unhealthy(answer, (status, status), contains)
    if wrong:
        return broken(wrong)
    return kept(f"{answer.status}, contains it" if contains else str(answer.status))


def unhealthy(answer: Answer, statuses: tuple[int, int], contains: str) -> str:
    """What is wrong with the answer to a probe; empty where nothing is."""
    lowest, highest = statuses
    if not lowest <= answer.status <= highest:
        wanted = str(lowest) if lowest == highest else f"{lowest} to {highest}"
        return f"{described(answer)}, not {wanted}"
    if contains and contains not in answer.body:
        return f"{answer.status}, without `{contains}`"
    return ""
