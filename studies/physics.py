"""Does a network gain by physics of the lens in front of it, or by what it sees of the image?

Eight front ends and none x three curves of brightness ("zscore": the raw image, but for its unit) x two learning rates
x three seeds, in one network of convolutions and attention that is trained with d4. A front end is compared with its
sham, which has the same parameters and channels, operations within a part in 500, and no physics.
"""

from dataclasses import replace

from search_space.architecture import FRONT_ENDS
from studies.spec import StudySpec
from studies.symmetry import NETWORK
from studies.train_space import PLAIN_TRAINING
from trainers.config import NO_AUGMENTATION
from trainers.data import Simulated

CURVES = ("zscore", "log", "asinh")
RATES = (1e-3, 3e-3)

STUDY = StudySpec(
    name="physics",
    question="What does physics buy: the source plane, the lens light subtracted, gradients or polar coordinates?",
    data=Simulated(preset="deeplense-1", image_size=32),
    space=replace(NETWORK, symmetry=("none",), front_end=FRONT_ENDS),
    training=replace(
        PLAIN_TRAINING, learning_rate=RATES, normalisation=CURVES, policies={"d4": replace(NO_AUGMENTATION, d4=True)}
    ),
    sampler="grid",
    scheduler="full",
    seeds=3,
    trials=len(FRONT_ENDS) * len(CURVES) * len(RATES) * 3,
    epochs=12,
    min_epochs=12,
    max_macs=200_000_000,
)
