"""Symmetry by construction, by augmentation, by both or by neither, in one network of convolutions and attention.

Four symmetries of the weights x with and without d4 augmentation x two learning rates x five seeds. All have the same
width, and so nearly the same number of operations (the symmetric stem is of 4 x 4 pixels, not 3 x 3). "scrambled" ties
the weights as d4 does, but over what is no symmetry of an image: it shows what fewer parameters do alone. The lenses
share an axis; the last epoch of each trial has its metrics upright, turned, and as the mean, worst and combined eight
symmetries. The combined prediction ("auc_d4_views") of a network trained with d4 is the fourth way to a symmetric
prediction.
"""

from dataclasses import replace

from search_space.architecture import SYMMETRIES
from search_space.space import PLAIN_TRANSFORMER
from studies.spec import StudySpec
from studies.train_space import D4_OR_NONE, PLAIN_TRAINING
from trainers.data import Simulated

NETWORK = replace(
    PLAIN_TRANSFORMER,
    stages=(2,),
    mixers=("attention",),
    first=("conv",),
    depth=(2,),
    width=(32,),
    downsample=(True,),
    grid=(16,),
    stem=("conv",),
    position=("conditional",),
    options={"attention": {"heads": (2,)}, "conv": {"variant": ("residual",)}},
    symmetry=SYMMETRIES,
)

STUDY = StudySpec(
    name="symmetry",
    question="What does symmetry buy: by construction, by augmentation, by the mean of eight views, or the wrong one?",
    data=Simulated(preset="deeplense-1", image_size=32),
    space=NETWORK,
    training=replace(
        PLAIN_TRAINING,
        learning_rate=(1e-3, 3e-3),
        policies=D4_OR_NONE,
    ),
    sampler="grid",
    scheduler="full",
    seeds=5,
    trials=len(SYMMETRIES) * 2 * 2 * 5,
    epochs=12,
    min_epochs=12,
    max_macs=200_000_000,
)
