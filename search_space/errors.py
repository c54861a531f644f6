"""What goes wrong in this package, for a caller to catch."""


class ArchitectureError(ValueError):
    """A space, an architecture or an option that cannot be built; the message says what to do."""
