"""What is wrong with a data set, or easy about it, found before anything is trained on it."""

from trainers.audit.checks import Audit, audit
from trainers.audit.copies import Copies
from trainers.audit.pixels import Some
from trainers.audit.properties import Property
from trainers.audit.shortcut import Shortcut, shortcut

__all__ = ["Audit", "Copies", "Property", "Shortcut", "Some", "audit", "shortcut"]
