"""Fourier mixing in its variants against attention, alone and after a first convolutional block.

FNet along the sequence or over the grid, each with and without the transform of the channels, GFNet's learnt filter,
and attention: six mixers x with and without convolution x three learning rates x two seeds.
"""

from dataclasses import replace

from search_space import space
from studies.spec import StudySpec
from studies.train_space import PLAIN

STUDY = StudySpec(
    name="fourier",
    question="Can a Fourier transform replace attention here, in which variant, and does it need a convolution first?",
    space=replace(
        space.PLAIN,
        mixers=("attention", "fourier"),
        first=("same", "conv"),
        options={"attention": {"heads": (4,)}, "conv": {"variant": ("residual",)}},
    ),
    training=replace(PLAIN, learning_rate=(5e-4, 2e-3, 5e-3)),
    sampler="grid",
    scheduler="full",
    seeds=2,
    trials=6 * 2 * 3 * 2,
    epochs=12,
    min_epochs=12,
)
