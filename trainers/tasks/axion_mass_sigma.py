"""Measuring the axion's mass and its uncertainty."""

from dataclasses import replace

from trainers.tasks import axion_mass

Task = replace(axion_mass.Task, with_sigma=True)
