"""Attention that knows direction, in five variants, against attention that does not: upright and turned training.

Six mixers x two augmentations x three learning rates x two seeds. A mixer is judged at the best of its rates, since
one rate for all would compare rates.
"""

from dataclasses import replace

from search_space import space
from studies.spec import StudySpec
from studies.train_space import PLAIN

STUDY = StudySpec(
    name="anisotropic",
    question="Does attention that depends on direction tell more than plain attention, and does turning replace it?",
    space=replace(
        space.PLAIN,
        mixers=("attention", "anisotropic"),
        stem=("conv",),
        options={
            "attention": {"heads": (4,)},
            "anisotropic": {
                "variant": ("local", "axial", "cross", "gaussian", "polar"),
                "heads": (4,),
                "stripe": (2,),
                "kernel": (5,),
            },
        },
    ),
    training=replace(PLAIN, learning_rate=(5e-4, 2e-3, 5e-3), rotation=(0.0, 180.0)),
    sampler="grid",
    scheduler="full",
    seeds=2,
    trials=6 * 2 * 3 * 2,
    epochs=12,
    min_epochs=12,
)
