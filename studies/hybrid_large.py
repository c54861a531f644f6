"""The study `hybrid` for a GPU, or several: wider and deeper networks, and trainings of 60 epochs."""

from dataclasses import replace

from search_space import Range
from studies import hybrid
from studies.baselines import LARGER
from studies.hybrid import SYMMETRIC, WITH_NORM, given, hybrid_space

STUDY = replace(
    hybrid.STUDY,
    name="hybrid_large",
    space=hybrid_space(grid=(8, 16, 32), width=Range(64, 512, 64), depth=Range(1, 6)),
    first=(
        given("ccc", (64, 128, 256), grid=32, front_end="polar", **SYMMETRIC),
        given("ccc", (64, 128, 256), grid=32, **SYMMETRIC),
        given("cca", (64, 128, 256), grid=32, front_end="polar", **WITH_NORM),
        given("cccc", (64, 128, 256, 512), grid=32, **WITH_NORM),
    ),
    trials=500,
    epochs=60,
    min_epochs=6,
    max_parameters=50_000_000,
    max_macs=2_000_000_000,
    baselines=LARGER,
)
