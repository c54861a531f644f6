"""Five variants of attention that knows direction against attention that does not, trained upright and turned.

Six mixers x two augmentations x three learning rates x two seeds. Each mixer is judged at its best rate: one rate for
all would compare rates.
"""

from dataclasses import replace

from search_space.space import PLAIN_TRANSFORMER
from studies.spec import StudySpec
from studies.train_space import PLAIN_TRAINING

STUDY = StudySpec(
    name="anisotropic",
    question="Does attention that depends on direction outperform plain attention, and can turned images replace it?",
    space=replace(
        PLAIN_TRANSFORMER,
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
    training=replace(PLAIN_TRAINING, learning_rate=(5e-4, 2e-3, 5e-3), rotation=(0.0, 180.0)),
    sampler="grid",
    scheduler="full",
    seeds=2,
    trials=6 * 2 * 3 * 2,
    epochs=12,
    min_epochs=12,
    max_macs=200_000_000,
)
