"""The study `hybrid` for a laptop's night or a GPU's hour: wider networks, and trainings of 30 epochs."""

from dataclasses import replace

from search_space import Range
from studies import hybrid
from studies.baselines import LARGER
from studies.hybrid import SYMMETRIC, WITH_NORM, given, hybrid_space

STUDY = replace(
    hybrid.STUDY,
    name="hybrid_base",
    space=hybrid_space(grid=(8, 16, 32), width=Range(16, 192, 16), depth=Range(1, 3)),
    first=(
        given("ccc", (32, 64, 128), grid=32, front_end="polar", **SYMMETRIC),
        given("ccc", (32, 64, 128), grid=32, **SYMMETRIC),
        given("cca", (32, 64, 128), grid=32, front_end="polar", **WITH_NORM),
        given("ccc", (32, 64, 128), grid=16, front_end="polar", **WITH_NORM),
        given("cca", (32, 64, 128), grid=16, **WITH_NORM),
    ),
    trials=200,
    epochs=30,
    min_epochs=10,
    max_parameters=8_000_000,
    max_macs=300_000_000,
    baselines=LARGER,
)
