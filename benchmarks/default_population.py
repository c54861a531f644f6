"""Is the default population worth searching over? A plain CNN must land far from chance and far from saturation.

    python benchmarks/default_population.py [--preset fair] [--images 4000] [--epochs 10] [--seeds 3]

Trains four stages of 3x3 convolutions on one core with only AdamW, a one-cycle learning rate and images turned by right
angles. Then prints macro and per-class one-vs-rest ROC AUC on the validation split, upright and turned by 90 degrees.
Both must agree, because the population has no preferred axis.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional as F

from search_space import Toy, build_model
from trainers.data import Dataset, Simulated, load


def standardise(images: Tensor) -> Tensor:
    return (images - images.mean((1, 2, 3), keepdim=True)) / images.std((1, 2, 3), keepdim=True)


def probabilities(model: nn.Module, images: Tensor) -> np.ndarray:
    model.eval()
    with torch.no_grad():
        return torch.cat([model(standardise(part)).softmax(1) for part in images.split(200)]).numpy()


def train(data: Dataset, epochs: int, seed: int, batch: int = 32, lr: float = 1e-3) -> tuple[nn.Module, float]:
    """Return the trained network and the seconds that one epoch took."""
    torch.manual_seed(seed)
    model = build_model(Toy("cnn"), in_chans=1, image_size=data.image_size, num_outputs=len(data.classes))
    optimiser = torch.optim.AdamW(model.parameters(), lr, weight_decay=0.02)
    steps = epochs * (len(data.train) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, steps)
    start = time.perf_counter()
    for _ in range(epochs):
        model.train()
        for index in torch.randperm(len(data.train))[: len(data.train) // batch * batch].split(batch):
            images = torch.rot90(data.train.images[index], int(torch.randint(4, ())), (2, 3))
            loss = F.cross_entropy(model(standardise(images)), data.train.labels[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model, (time.perf_counter() - start) / epochs


def auc(labels: Tensor, scores: np.ndarray) -> np.ndarray:
    """One-vs-rest ROC AUC of every class."""
    return np.array([roc_auc_score(labels.numpy() == c, scores[:, c]) for c in range(scores.shape[1])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="fair")
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--snr", type=float)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    start = time.perf_counter()
    data = load(Simulated(args.preset, args.images, snr=args.snr))
    print(f"{data.describe()}; ready in {time.perf_counter() - start:.1f} s")
    torch.set_num_threads(1)
    print(f"{'seed':>6} {'view':8} {'macro':>6} " + " ".join(f"{name:>6}" for name in data.classes) + "  s/epoch")
    results = []
    for seed in range(args.seeds):
        model, seconds = train(data, args.epochs, seed)
        upright = data.val.images[:]
        views = {"upright": upright, "turned": torch.rot90(upright, 1, (2, 3))}
        scores = [auc(data.val.labels, probabilities(model, images)) for images in views.values()]
        for view, score in zip(views, scores, strict=True):
            print(f"{seed:6} {view:8} {score.mean():6.3f} " + " ".join(f"{s:6.3f}" for s in score) + f"  {seconds:.1f}")
        results.append([score.mean() for score in scores])
    (upright, turned), spread = np.mean(results, axis=0), np.std(results, axis=0)[0]
    print(f"mean of {args.seeds}: upright {upright:.3f} (spread {spread:.3f}), turned {turned:.3f}")


if __name__ == "__main__":
    main()
