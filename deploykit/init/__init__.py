"""From a project's folder to the text of a commented deploykit.yaml: looks, asks what it can't know, writes nothing.

survey = look(folder)
answers = {question.key: ... for question in questions(survey)}
text = write_spec(survey, answers)
"""

from __future__ import annotations

from deploykit.init.questions import Question, questions
from deploykit.init.step import StepFile, step_file
from deploykit.init.survey import Survey, look
from deploykit.init.write import SCHEMA_FILE, write_spec

__all__ = ["SCHEMA_FILE", "Question", "StepFile", "Survey", "look", "questions", "step_file", "write_spec"]
