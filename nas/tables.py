"""`python -m nas.tables`: the tables of a study for a paper."""

from nas.commands.cli import script

script(__name__)
