"""Measuring the Einstein radius and its uncertainty."""

from dataclasses import replace

from trainers.tasks import einstein_radius

Task = replace(einstein_radius.Task, with_sigma=True)
