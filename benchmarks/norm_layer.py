"""What the norm alone does to the hybrid study's given first trials: equal networks and training, layer or batch norm.

python benchmarks/norm_layer.py
"""

from __future__ import annotations

from dataclasses import replace

import optuna
import torch
from optuna.trial import FixedTrial

from search_space import Hybrid, build_model
from studies import load as load_study
from trainers import tasks
from trainers.data import load
from trainers.fit import fit


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spec = load_study("hybrid")
    data = load(spec.data)
    task = tasks.create(spec.task, data)
    for number, given in enumerate(spec.first):
        config = spec.sample(FixedTrial(dict(given)))
        assert isinstance(config.architecture, Hybrid)
        mixers = ", ".join(stage.mixer for stage in config.architecture.stages)
        for norm_layer in ("layer", "batch"):
            architecture = replace(config.architecture, norm_layer=norm_layer)
            torch.manual_seed(config.seed)
            model = build_model(
                architecture, in_chans=data.in_chans, image_size=data.image_size, num_outputs=task.num_outputs
            )
            epochs = [e.metrics["auc"] for e in fit(model, data.train, task, config.training, seed=0, val=data.val)]
            print(
                f"given trial {number} ({mixers}), {norm_layer} norm: validation AUC {epochs[-1]:.4f} after "
                f"{len(epochs)} epochs, best {max(epochs):.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
