"""What a searched network has to beat: known networks with one good training each, and trees without a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from search_space import Backbone, Toy
from search_space.architecture import TOYS
from search_space.baselines.backbones import is_known
from studies.errors import StudyError
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.fitted import FITTED

BASELINES = ("statistics", "pca", "cnn", "resnet18")
LARGER = (*BASELINES, "densenet121", "vit_tiny_patch16_224")  # with a GPU

# The best with d4 of four rates at four epochs (the study `existing`); the plain CNN has that of its like in `hybrid`.
RATES = {"cnn": 2e-3, "resnet18": 1e-3, "densenet121": 1e-3, "vit_tiny_patch16_224": 1e-4}
RATE = 1e-3  # of any other network


def check_baselines(names: Sequence[str]) -> None:
    """StudyError unless every name is one of FITTED or TOYS, 'alexnet', or a network of timm."""
    if not isinstance(names, tuple):
        raise StudyError(f"baselines is {names!r}; expected a tuple of names")
    ours = (*FITTED, *TOYS)
    for name in names:
        if not isinstance(name, str) or not (name in ours or is_known(name)):
            raise StudyError(f"unknown baseline {name!r}; known: {', '.join(ours)}, or any network of timm")


def network(name: str) -> Toy | Backbone:
    return Toy(name) if name in TOYS else Backbone(name)


def training(name: str, epochs: int) -> TrainConfig:
    """One good training of the named network: AdamW at the network's own rate, cosine, d4, asinh as the given ones."""
    return TrainConfig(
        epochs=epochs,
        batch_size=32,
        learning_rate=RATES.get(name, RATE),
        weight_decay=0.02,
        warmup_epochs=float(epochs > 1),
        normalisation="asinh",  # of CNN and ResNet-18, AUC .007 and .012 above zscore (deeplense-1, 32 px, two seeds)
        augmentation=replace(NO_AUGMENTATION, d4=True),
    )
