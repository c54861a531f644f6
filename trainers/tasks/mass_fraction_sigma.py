"""Measuring which fraction of the lens's mass is substructure, and how well it is known."""

from trainers.tasks import mass_fraction


class Task(mass_fraction.Task):
    with_sigma = True
