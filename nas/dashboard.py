"""`python -m nas.dashboard`: a study in a browser."""

from nas.commands.cli import script

script(__name__)
