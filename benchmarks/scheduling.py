"""What the scheduler takes for a trial as a study grows, alone: two rungs, random values, no study and no training.

    OMP_NUM_THREADS=1 python benchmarks/scheduling.py --trials 20000

Prints milliseconds of processor time a trial, over each part of the trials.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from nas.schedulers.adaptive import Scheduler

RUNGS, FACTOR = (4, 12), 3
PART = 5000


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--trials", type=int, default=20_000)
    args = p.parse_args()
    scheduler, rng = Scheduler(RUNGS, FACTOR), np.random.default_rng(0)
    begin = time.process_time()
    for trial in range(args.trials):
        for epoch in range(1, RUNGS[0] + 1):
            scheduler.report(trial, epoch, rng.random())
        while (promoted := scheduler.promote(last=False)) is not None:
            for epoch in range(RUNGS[0] + 1, RUNGS[1] + 1):
                scheduler.report(promoted, epoch, rng.random())
        scheduler.hopeless(args.trials)
        if (trial + 1) % PART == 0:
            now = time.process_time()
            print(f"to {trial + 1:7,}  {1e3 * (now - begin) / PART:6.2f} ms a trial", flush=True)
            begin = now


if __name__ == "__main__":
    main()
