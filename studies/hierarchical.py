"""Windows, shifted windows and pyramids of grids against global attention on one grid (Swin, arXiv 2103.14030)."""

from dataclasses import replace

from search_space import HybridSpace, Range
from studies.spec import StudySpec
from studies.train_space import PLAIN_TRAINING

STUDY = StudySpec(
    name="hierarchical",
    question="Does a pyramid of shifted windows beat global attention on one grid, and which window size is best?",
    space=HybridSpace(
        stages=Range(1, 4),
        mixers=("attention", "window"),
        grid=(8, 16),
        first=("same",),
        depth=Range(1, 3),
        position=("none", "fixed_2d"),
        position_place=("once",),
        norm=("pre", "res_post"),
        norm_layer=("batch",),
        layer_scale=(0.0,),
        head=("average",),
    ),
    training=replace(
        PLAIN_TRAINING, learning_rate=Range(3e-4, 1e-2, log=True), weight_decay=Range(1e-3, 0.3, log=True)
    ),
    trials=80,
    epochs=12,
    min_epochs=4,
    max_macs=50_000_000,
)
