"""Measuring the substructure's fraction of the lens's mass and its uncertainty."""

from dataclasses import replace

from trainers.tasks import mass_fraction

Task = replace(mass_fraction.Task, with_sigma=True)
