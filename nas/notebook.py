"""`python -m nas.notebook`: a study as an executed notebook."""

from nas.commands.cli import script

script(__name__)
