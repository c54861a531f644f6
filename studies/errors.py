"""What goes wrong in this package, for a caller to catch."""


class StudyError(ValueError):
    """A study that cannot be found, or asks for what cannot be; the message says what to do."""
