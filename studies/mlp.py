"""The hyperparameters of pure MLPs: MLP-Mixer (arXiv 2105.01601) and ResMLP (arXiv 2105.03404).

Their linear maps over all tokens grow fastest with the image, so the study also looks for lottery tickets, rewound to
the initial weights (arXiv 1803.03635) or to those after one epoch (arXiv 1903.01611).
"""

from dataclasses import replace

from search_space import HybridSpace, Range
from studies.spec import StudySpec
from studies.train_space import PLAIN_TRAINING

STUDY = StudySpec(
    name="mlp",
    question="MLP-Mixer or ResMLP, of which depth, width and grid; does a convolutional stem or a pyramid help, and "
    "what fraction of the weights can be pruned?",
    space=HybridSpace(
        stages=Range(1, 2),
        mixers=("mlp",),
        grid=(8, 16),
        first=("same",),
        depth=Range(1, 4),
        width=Range(32, 96, 32),
        position=("none",),
        norm=("pre",),
        layer_scale=(0.0, 1e-1),
        head=("average",),
    ),
    training=replace(
        PLAIN_TRAINING,
        learning_rate=Range(3e-4, 1e-2, log=True),
        weight_decay=Range(1e-3, 0.3, log=True),
        sparsity=(0.0, 0.5, 0.8, 0.9),
        rewind=(0, 1),
    ),
    trials=80,
    epochs=12,
    min_epochs=4,
    max_macs=50_000_000,
)
