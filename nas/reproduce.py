"""`python -m nas.reproduce`: train a trial again and compare."""

from nas.commands.cli import script

script(__name__)
