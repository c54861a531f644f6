"""Every kind of position embedding at every possible place in one transformer: all 17 cells, three seeds each.

The stem is made of patches: the borders of a convolutional one would also reveal the position.
"""

from dataclasses import replace

from search_space.architecture import ABSOLUTE, PLACES, RELATIONAL
from search_space.space import PLAIN_TRANSFORMER
from studies.spec import StudySpec
from studies.train_space import PLAIN_TRAINING

STUDY = StudySpec(
    name="position",
    question="Which position embedding does a transformer need here, added where, and shared or not?",
    space=replace(PLAIN_TRANSFORMER, position=ABSOLUTE + RELATIONAL, position_place=PLACES),
    training=PLAIN_TRAINING,
    sampler="grid",
    scheduler="full",
    seeds=3,
    trials=17 * 3,
    epochs=12,
    min_epochs=12,
    max_macs=200_000_000,
)
