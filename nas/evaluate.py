"""`python -m nas.evaluate`: Measure a model on other images. From Python: `nas.evaluate(...)`."""

from nas.commands.cli import script

script(__name__)
