"""The plain vision transformer by its own hyperparameters: one grid, attention only."""

from dataclasses import replace

from search_space import HybridSpace, Range
from studies.spec import StudySpec
from studies.train_space import PLAIN

STUDY = StudySpec(
    name="vit",
    question="Which patch, depth, width, heads, norm, head and stem make a plain vision transformer good here?",
    space=HybridSpace(
        stages=(1,),
        mixers=("attention",),
        first=("same",),
        depth=Range(2, 6),
        width=Range(32, 96, 32),
        position=("fixed_2d",),
        position_place=("once",),
    ),
    training=replace(PLAIN, learning_rate=(3e-4, 1e-2), weight_decay=(1e-3, 0.3)),
    trials=80,
    epochs=12,
    min_epochs=4,
    max_macs=50_000_000,
)
