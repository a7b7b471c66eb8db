"""Whether limits are where they were promised to be, to the byte."""

from __future__ import annotations

from deploykit.plan import Check
from deploykit.proof.scene import Scene, Seen, broken, described, kept, number, text

__all__ = ["body_limit"]


def body_limit(scene: Scene, check: Check) -> Seen:
    """nginx asks for a body of just the promised size, and refuses one of a byte more; the app sees neither."""
    sizes = (number(check, "bytes"), number(check, "bytes") + 1)
    answers = scene.ask(
        *[scene.request(text(check, "host"), text(check, "target"), method="POST", expect_length=n) for n in sizes]
    )
    told = ", ".join(f"{size}: {described(answer)}" for size, answer in zip(sizes, answers, strict=True))
    return kept(told) if [answer.status for answer in answers] == [100, 413] else broken(told)
