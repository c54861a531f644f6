"""What every baseline reaches on the test images, and what it costs on one core.

    OMP_NUM_THREADS=1 python benchmarks/baselines.py    # deeplense-1, 1,360 images of 32 px, 6 epochs
    OMP_NUM_THREADS=1 python benchmarks/baselines.py --rates 3e-4 1e-3 3e-3 --seeds 1

Each is trained or fitted as by `nas.retrain`, in this process. With `--rates`, networks are trained on the training
images alone with each learning rate in place of their own, and the validation AUC after the last epoch is printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from nas.retraining.baselines import BaselineTraining, plan, tested, train_or_fit
from nas.retraining.job import Retraining, fingerprint
from nas.retraining.scores import Spread
from nas.words import baseline_name
from nas.workers.training import Problem, set_up
from studies import Configuration
from studies.baselines import LARGER, network, training
from trainers import tasks
from trainers.data import Simulated, load, source_to_dict
from trainers.fit import fit


def ladder(job: BaselineTraining, rates: list[float]) -> dict[float, float]:
    """Validation AUC by learning rate."""
    found = {}
    for rate in rates:
        config = replace(training(job.baseline, job.epochs), learning_rate=rate)
        set_ = set_up(Configuration(network(job.baseline), config, job.seed).to_dict(), job.problem)
        *_, last = fit(set_.model, set_.data.train, set_.task, config, seed=job.seed, val=set_.data.val)
        found[rate] = last.metrics["auc"]
    return found


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--names", nargs="+", default=LARGER)
    p.add_argument("--preset", default="deeplense-1")
    p.add_argument("--images", type=int, default=1600, help="in all; 70%% to train on, 15%% each for the other splits")
    p.add_argument("--image-size", type=int, default=32)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--rates", nargs="+", type=float, default=[])
    args = p.parse_args()
    torch.set_num_threads(1)
    source = Simulated(args.preset, images=args.images, image_size=args.image_size)
    data = load(source, progress=False)
    task = tasks.create("substructure", data)
    problem = Problem(source_to_dict(source), "substructure")
    print(f"{data.describe()}; {args.epochs} epochs")
    with tempfile.TemporaryDirectory() as folder:
        like = Retraining(0, {"training": {"epochs": args.epochs}}, problem, fingerprint(data), folder)
        for name in args.names:
            jobs = plan([name], like, args.seeds, Path(folder))
            if args.rates:
                for job in jobs:
                    if not job.fitted:
                        rates = ", ".join(f"{rate:g}: {auc:.4f}" for rate, auc in ladder(job, args.rates).items())
                        print(f"{job.name:24} validation AUC at {rates}", flush=True)
                continue
            start = time.process_time()
            for job in jobs:
                list(train_or_fit(job))
            seconds = (time.process_time() - start) / len(jobs)
            trained = [tested(job, task).metrics for job in jobs]
            auc, worst = (Spread.of([t[metric] for t in trained]) for metric in ("auc", "auc_d4_worst"))
            print(f"{baseline_name(name):24} AUC {auc}, worst of eight {worst}, {seconds:.1f} s CPU each", flush=True)


if __name__ == "__main__":
    main()
