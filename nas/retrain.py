"""`python -m nas.retrain`: Train the best again. From Python: `nas.retrain(...)`."""

from nas.commands.cli import script

script(__name__)
