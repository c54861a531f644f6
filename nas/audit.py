"""`python -m nas.audit`: Check images before training. From Python: `nas.audit(...)`."""

from nas.commands.cli import script

script(__name__)
