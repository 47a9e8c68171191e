"""The course around the library: exercises with checks and hints, learner's copies, execution, pages to read."""

from kfcourse.learning.exercises import Exercise, check, exercise, hint
from kfcourse.learning.predictions import predict, reveal

__all__ = ["Exercise", "check", "exercise", "hint", "predict", "reveal"]
