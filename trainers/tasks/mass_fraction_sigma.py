"""Measuring the substructure's fraction of the lens's mass and its uncertainty."""

from trainers.tasks import mass_fraction


class Task(mass_fraction.Task):
    with_sigma = True
