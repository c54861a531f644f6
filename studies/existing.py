"""Existing networks trained from scratch, each at four learning rates, with and without augmentation.

Every network gets every cell, so none loses because of a rate that suits another. The larger ones need a GPU.
"""

from dataclasses import replace

from search_space import BackboneSpace
from search_space.existing import BACKBONES
from studies.spec import StudySpec
from studies.train_space import D4_OR_NONE, PLAIN_TRAINING

STUDY = StudySpec(
    name="existing",
    question="How well do existing networks do from scratch, each at its own learning rate and augmentation?",
    space=BackboneSpace(),
    training=replace(
        PLAIN_TRAINING,
        learning_rate=(1e-4, 3e-4, 1e-3, 3e-3),
        weight_decay=(0.05,),
        policies=D4_OR_NONE,
    ),
    sampler="grid",
    scheduler="full",
    trials=len(BACKBONES) * 4 * 2,
    epochs=12,
    min_epochs=12,
    max_parameters=200_000_000,
    max_macs=20_000_000_000,
)
