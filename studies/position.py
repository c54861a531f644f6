"""Every kind of position embedding at every place it can have, in one transformer: all 17 cells, three seeds each.

The stem is of patches, since the borders of a convolutional one tell the position too.
"""

from dataclasses import replace

from search_space import space
from search_space.architecture import ABSOLUTE, PLACES, RELATIONAL
from studies.spec import StudySpec
from studies.train_space import PLAIN

STUDY = StudySpec(
    name="position",
    question="Which position embedding does a transformer need here, added where, and shared or not?",
    space=replace(space.PLAIN, position=ABSOLUTE + RELATIONAL, position_place=PLACES),
    training=PLAIN,
    sampler="grid",
    scheduler="full",
    seeds=3,
    trials=17 * 3,
    epochs=12,
    min_epochs=12,
)
