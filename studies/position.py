"""Every kind of position embedding at every place it can have, in one transformer: all 17 cells, three seeds each.

The stem is of patches, since the borders of a convolutional one tell the position too.
"""

from search_space import HybridSpace
from studies.spec import StudySpec
from trainers.space import PLAIN

STUDY = StudySpec(
    name="position",
    question="Which position embedding does a transformer need here, added where, and shared or not?",
    space=HybridSpace(
        stages=(1,),
        mixers=("attention",),
        first=("same",),
        depth=(3,),
        width=(48,),
        mlp_ratio=(2.0,),
        patch=(4,),
        stem=("patch",),
        norm=("pre",),
        norm_layer=("batch",),
        layer_scale=(0.0,),
        head=("average",),
        drop_path=(0.0,),
        options={"attention": {"heads": (4,)}},
    ),
    training=PLAIN,
    sampler="grid",
    scheduler="full",
    seeds=3,
    trials=17 * 3,
    epochs=12,
    min_epochs=12,
)
