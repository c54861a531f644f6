"""`python -m nas.figures`: the figures of a study for a paper."""

from nas.commands.cli import script

script(__name__)
