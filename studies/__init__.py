"""What is searched, as data: one file a study, each with a `STUDY`."""

from studies.spec import Configuration, StudySpec, known, load

__all__ = ["Configuration", "StudySpec", "known", "load"]
