"""`python -m nas.explain`: Show where a model looks. From Python: `nas.explain(...)`."""

from nas.commands.cli import script

script(__name__)
