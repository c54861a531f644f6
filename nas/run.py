"""`python -m nas.run`: Search. From Python: `nas.search(...)`."""

from nas.commands.cli import script

script(__name__)
