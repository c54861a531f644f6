"""Each augmentation alone against none, in one good network, with five seeds each.

All augmentations of one seed share the initial weights and the order of the images. An effect is therefore the mean
difference to `none` within seeds, with the confidence interval of the paired t-test. The images are those of the public
Model I, whose lenses all share an axis: the last epoch of each trial has its metrics on the validation images as they
are and, as `turned_auc`, turned by 90 degrees.
"""

from dataclasses import replace

from search_space.space import PLAIN_TRANSFORMER
from studies.spec import StudySpec
from studies.train_space import PLAIN_TRAINING
from trainers.config import NO_AUGMENTATION
from trainers.data import Simulated

NETWORK = replace(  # two stages of residual convolutions
    PLAIN_TRANSFORMER,
    stages=(2,),
    mixers=("conv",),
    depth=(1,),
    width=(32,),
    downsample=(True,),
    stem=("conv",),
    options={"conv": {"variant": ("residual",)}},
)

POLICIES = {
    "none": NO_AUGMENTATION,
    "flip": replace(NO_AUGMENTATION, flip=True),
    "d4": replace(NO_AUGMENTATION, d4=True),
    "rotation-45": replace(NO_AUGMENTATION, rotation=45.0),
    "rotation-180": replace(NO_AUGMENTATION, rotation=180.0),
    "rotation-180+flip": replace(NO_AUGMENTATION, rotation=180.0, flip=True),
    "shift": replace(NO_AUGMENTATION, shift=0.1),
    "zoom": replace(NO_AUGMENTATION, zoom=0.2),
    "noise": replace(NO_AUGMENTATION, noise=0.1),
    "blur": replace(NO_AUGMENTATION, blur=1.0),
    "brightness": replace(NO_AUGMENTATION, brightness=0.5),
    "contrast": replace(NO_AUGMENTATION, contrast=0.5),
    "cutout": replace(NO_AUGMENTATION, cutout=0.3),
    "mixup": replace(NO_AUGMENTATION, mixup=0.2),
    "cutmix": replace(NO_AUGMENTATION, cutmix=1.0),
}

STUDY = StudySpec(
    name="augmentation",
    question="What does each augmentation add to or take from a good network, on images upright and turned?",
    data=Simulated(preset="deeplense-1", image_size=64),
    space=NETWORK,
    training=replace(PLAIN_TRAINING, learning_rate=(3e-3,), policies=POLICIES),
    sampler="grid",
    scheduler="full",
    seeds=5,
    trials=len(POLICIES) * 5,
    epochs=12,
    min_epochs=12,
)
