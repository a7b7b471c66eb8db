"""What only a person can know of a project, as questions that a terminal can ask."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from deploykit.detection import Finding
from deploykit.init.survey import App, Survey

FROM_ENVIRONMENT = "environment"
LATER = "later"
_ENTRYPOINT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?", re.ASCII)


@dataclass(frozen=True)
class Question:
    """One thing to ask; an empty answer leaves it open, and the spec then has a comment to fill in."""

    key: str
    """What the answer is filed under in `answers`: framework, entrypoint, requirements or variable.NAME."""
    text: str
    choices: tuple[Finding, ...] = ()
    """What can be answered, each with what it means; empty where any text of the right form can be."""
    default: str = ""
    """What Enter means; empty where it leaves the question open."""

    def problem(self, answer: str) -> str:
        """Why that is no answer, empty where it is one."""
        if self.choices:
            values = [choice.value for choice in self.choices]
            return "" if answer in values else f"should be one of {', '.join(values)}"
        if self.key == "entrypoint" and not _ENTRYPOINT.fullmatch(answer):
            return f"should be `package.module:callable`, not '{answer}'"
        return ""


def questions(survey: Survey, answers: Mapping[str, str] | None = None) -> tuple[Question, ...]:
    """What is still open, in the order in which it should be asked; `answers` are those given so far."""
    answers = answers or {}
    found: list[Question] = []
    if len(survey.apps) > 1:
        choices = tuple(Finding(one.detected.framework, one.detected.seen) for one in survey.apps)
        found.append(
            Question("framework", "The project has apps of several frameworks: which one?", choices, choices[0].value)
        )
    app = chosen_app(survey, answers)
    if app is None or not app.entrypoints:
        found.append(Question("entrypoint", "Where is the application, as package.module:callable?"))
    elif len(app.entrypoints) > 1:
        found.append(Question("entrypoint", "Which of these is the application?", app.entrypoints))
    if app is not None:
        if app.requirements.candidates:
            files = tuple(Finding(name, name) for name in app.requirements.candidates)
            found.append(Question("requirements", "Which file has the requirements?", files))
        found += [_variable(name, where) for name, where in app.needs]
    return tuple(question for question in found if question.key not in answers)


def _variable(name: str, where: str) -> Question:
    choices = (
        Finding(FROM_ENVIRONMENT, f"a variable {name} of the shell that runs deploykit"),
        Finding(LATER, "write a comment to fill in"),
    )
    return Question(f"variable.{name}", f"The app needs {name} ({where}): where from?", choices, LATER)


def chosen_app(survey: Survey, answers: Mapping[str, str]) -> App | None:
    """The app that the spec is written for; None where nothing was found."""
    wanted = answers.get("framework")
    return next((one for one in survey.apps if one.detected.framework == wanted), next(iter(survey.apps), None))
