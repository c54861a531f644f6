"""`python -m nas.predict`: What a model says of images. From Python: `nas.predict(...)`."""

from nas.commands.cli import script

script(__name__)
