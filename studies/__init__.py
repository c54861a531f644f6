"""What is searched, as data: one file a study, each with a `STUDY`."""

from studies.errors import StudyError
from studies.loading import known, load
from studies.spec import Configuration, StudySpec
from studies.train_space import TrainSpace

__all__ = ["Configuration", "StudyError", "StudySpec", "TrainSpace", "known", "load"]
