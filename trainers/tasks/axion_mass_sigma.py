"""Measuring the axion's mass, and how well it is known."""

from trainers.tasks import axion_mass


class Task(axion_mass.Task):
    with_sigma = True
