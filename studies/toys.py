"""The baselines at three learning rates, with and without augmentation, three seeds each."""

from dataclasses import replace

from search_space import ToySpace
from studies.spec import StudySpec
from studies.train_space import D4_OR_NONE, PLAIN_TRAINING

STUDY = StudySpec(
    name="toys",
    question="How well do an MLP, LeNet and a ResNet of two blocks do, the least that a search must beat?",
    space=ToySpace(),
    training=replace(
        PLAIN_TRAINING,
        learning_rate=(3e-4, 1e-3, 3e-3),
        policies=D4_OR_NONE,
    ),
    sampler="grid",
    scheduler="full",
    seeds=3,
    trials=3 * 3 * 2 * 3,
    epochs=12,
    min_epochs=12,
)
