"""The hyperparameters of the plain vision transformer: one grid, attention only."""

from dataclasses import replace

from search_space import HybridSpace, Range
from studies.spec import StudySpec
from studies.train_space import PLAIN_TRAINING

STUDY = StudySpec(
    name="vit",
    question="Which grid, depth, width, heads, norm, head and stem make a plain vision transformer good here?",
    space=HybridSpace(
        stages=(1,),
        mixers=("attention",),
        grid=(8, 16),
        first=("same",),
        depth=Range(2, 6),
        width=Range(32, 96, 32),
        position=("fixed_2d",),
        position_place=("once",),
    ),
    training=replace(
        PLAIN_TRAINING, learning_rate=Range(3e-4, 1e-2, log=True), weight_decay=Range(1e-3, 0.3, log=True)
    ),
    trials=80,
    epochs=12,
    min_epochs=4,
    max_macs=50_000_000,
)
