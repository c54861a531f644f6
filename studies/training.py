"""Everything that a training can vary, with one good network: optimiser, schedule, input, augmentation together."""

from studies.augmentation import NETWORK
from studies.spec import StudySpec
from trainers.config import SCHEDULES, SCOPES
from trainers.space import TrainSpace

STUDY = StudySpec(
    name="training",
    question="Which optimiser, schedule, normalisation and augmentation train a good network best, and what matters?",
    space=NETWORK,
    training=TrainSpace(
        optimiser=("adamw", "sgd", "lion"),
        schedule=SCHEDULES,
        warmup_epochs=(0.5, 1.0, 2.0),
        ema=(0.0, 1.0),
        normalisation_scope=SCOPES,
        d4=(False, True),
        zoom=(0.0, 0.3),
        blur=(0.0, 1.0),
        brightness=(0.0, 0.5),
        contrast=(0.0, 0.5),
        cutout=(0.0, 0.5),
        mixup=(0.0, 0.5),
        cutmix=(0.0, 1.0),
    ),
    trials=120,
    epochs=12,
    min_epochs=4,
)
