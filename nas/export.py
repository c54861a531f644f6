"""`python -m nas.export`: Write a model in formats of others. From Python: `nas.export(...)`."""

from nas.commands.cli import script

script(__name__)
