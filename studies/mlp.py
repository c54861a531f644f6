"""Networks of MLPs only: MLP-Mixer (arXiv 2105.01601) and ResMLP (arXiv 2105.03404) by their hyperparameters."""

from dataclasses import replace

from search_space import HybridSpace, Range
from studies.spec import StudySpec
from trainers.space import PLAIN

STUDY = StudySpec(
    name="mlp",
    question="MLP-Mixer or ResMLP: of which depth, width and patch, and does a convolutional stem or a pyramid help?",
    space=HybridSpace(
        stages=Range(1, 2),
        mixers=("mlp",),
        first=("same",),
        depth=Range(1, 4),
        width=Range(32, 96, 32),
        position=("none",),
        norm=("pre",),
        layer_scale=(0.0, 1e-1),
        head=("average",),
    ),
    training=replace(PLAIN, learning_rate=(3e-4, 1e-2), weight_decay=(1e-3, 0.3)),
    trials=80,
    epochs=12,
    min_epochs=4,
    max_macs=50_000_000,
)
