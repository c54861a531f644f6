"""Variants of Fourier mixing against attention, alone and after a first convolutional block.

Six mixers x with and without convolution x three learning rates x two seeds. The mixers are FNet along the sequence or
over the grid, each with and without a transform of the channels, GFNet's learnt filter, and attention.
"""

from dataclasses import replace

from search_space.space import PLAIN_TRANSFORMER
from studies.spec import StudySpec
from studies.train_space import PLAIN_TRAINING

STUDY = StudySpec(
    name="fourier",
    question="Can a Fourier transform replace attention here, in which variant, and does it need a convolution first?",
    space=replace(
        PLAIN_TRANSFORMER,
        mixers=("attention", "fourier"),
        first=("same", "conv"),
        options={"attention": {"heads": (4,)}, "conv": {"variant": ("residual",)}},
    ),
    training=replace(PLAIN_TRAINING, learning_rate=(5e-4, 2e-3, 5e-3)),
    sampler="grid",
    scheduler="full",
    seeds=2,
    trials=6 * 2 * 3 * 2,
    epochs=12,
    min_epochs=12,
)
