"""Everything that a training can vary, in one good network: optimiser, schedule, input and augmentation together.

The network and the images are those of `augmentation`. Each strength can be zero: with ranges, every augmentation would
be on in every trial, and such a training learns nothing here (studies/README.md).
"""

from typing import Any

from studies.augmentation import NETWORK
from studies.augmentation import STUDY as AUGMENTATION
from studies.spec import StudySpec
from studies.train_space import TrainSpace
from trainers.config import NORMALISATIONS, SCHEDULES, SCOPES

STRENGTHS: dict[str, Any] = {
    "shift": (0.0, 0.02, 0.1),
    "noise": (0.0, 0.1, 0.5),
    "zoom": (0.0, 0.1, 0.3),
    "blur": (0.0, 0.3, 1.0),
    "brightness": (0.0, 0.1, 0.5),
    "contrast": (0.0, 0.1, 0.5),
    "cutout": (0.0, 0.1, 0.5),
    "mixup": (0.0, 0.1, 0.5),
    "cutmix": (0.0, 0.2, 1.0),
}
# The training of `augmentation`, flips included.
FIRST = {
    "batch_size": 32,
    "optimiser": "adamw",
    "learning_rate": 2e-3,
    "weight_decay": 0.02,
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "label_smoothing": 0.0,
    "ema": 0.0,
    "normalisation": "zscore",
    "normalisation.scope": "image",
    "augment.rotation": 0.0,
    "augment.d4": False,
    "augment.flip": True,
    **{f"augment.{name}": 0.0 for name in STRENGTHS},
}

STUDY = StudySpec(
    name="training",
    question="Which optimiser, schedule, normalisation and augmentation train a good network best, and what matters?",
    space=NETWORK,
    training=TrainSpace(
        optimiser=("adamw", "sgd", "lion"),
        schedule=SCHEDULES,
        warmup_epochs=(0.5, 1.0, 2.0),
        ema=(0.0, 1.0),
        normalisation=NORMALISATIONS,
        normalisation_scope=SCOPES,
        **STRENGTHS,
    ),
    data=AUGMENTATION.data,
    trials=120,
    epochs=12,
    min_epochs=4,
    first=(FIRST,),
)
