"""Each front end of the study `physics` against its sham, paired over curves of brightness, learning rates and seeds.

    python -m nas.run --study physics --images 2000 --epochs 6
    python benchmarks/physics.py runs/physics

Prints the mean of each front end, upright and in the worst of eight symmetries, and its difference to the sham with the
95% interval of the paired t-test; p-values are corrected for the differences of a column by Holm's method.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

import nas
from nas.report.effects import Difference, holm

METRICS = ("auc", "auc_d4_worst")


def by_cell(results: nas.Results, front_end: str) -> Mapping[tuple[object, ...], Mapping[str, float]]:
    """The metrics of each training with this front end, by its curve, rate and seed."""
    chosen = [t for t in results.ranked() if t.config["architecture"]["front_end"] == front_end]
    return {
        (t.config["training"]["normalisation"], t.config["training"]["learning_rate"], t.config["seed"]): t.metrics
        for t in chosen
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    results = nas.load_results(parser.parse_args().run)
    ends = sorted({t.config["architecture"]["front_end"] for t in results.ranked()})
    cells = {end: by_cell(results, end) for end in ends}
    for end in ends:
        print(f"{end:<15}", *(f"{metric} {fmean(m[metric] for m in cells[end].values()):.4f}" for metric in METRICS))
    pairs = [(end, f"{end}_sham") for end in ends if f"{end}_sham" in ends]
    for metric in METRICS:
        found = []
        for end, sham in pairs:
            both = [key for key in cells[end] if key in cells[sham]]
            difference = Difference.of([cells[end][key][metric] - cells[sham][key][metric] for key in both])
            assert difference is not None
            found.append(difference)
        corrected = holm([1.0 if d.p is None else d.p for d in found])
        for (end, sham), d, p in zip(pairs, found, corrected, strict=True):
            print(f"{metric}: {end} minus {sham} {d.mean:+.4f} ± {d.half or 0.0:.4f}, {d.pairs} pairs, p {p:.2g}")


if __name__ == "__main__":
    main()
