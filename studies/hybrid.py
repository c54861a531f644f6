"""The main study: which mixers, in which order, with which training."""

from search_space import HybridSpace, Range
from studies.spec import StudySpec
from studies.train_space import POLICIES, TrainSpace

SPACE = HybridSpace(
    depth=Range(1, 3),
    position=("none", "fixed_1d", "fixed_2d", "learnable"),
    position_place=("once",),
    norm=("pre",),
    layer_scale=(0.0,),
    head=("average", "class_token"),
    drop_path=(0.0, 0.1),
    options={
        "conv": {"variant": ("separable", "residual")},
        "window": {"variant": ("v1",)},
        "anisotropic": {"variant": ("gaussian", "polar", "cross")},
        "fourier": {"variant": ("fnet2d", "gfnet")},
        "mlp": {"variant": ("mixer",)},
    },
)

# Rates below 5e-4 learn too slowly for twelve epochs, with either norm (studies/README.md).
TRAINING = TrainSpace(learning_rate=Range(5e-4, 1e-2, log=True), batch_size=(32, 64), policies=POLICIES)

# The first trials: convolution early and attention late, at learning rates known to be good. The sampler learns from
# them as from any other trial. Parameters that are not named here are sampled.
_TRAINING = {"batch_size": 32, "normalisation": "zscore", "augmentation": "d4"}
_TRAINING |= {"weight_decay": 0.02, "label_smoothing": 0.0}
_NETWORK = {"patch": 4, "stem": "conv", "norm_layer": "batch", "position": "fixed_2d", "drop_path": 0.0}
_CONV = {"mixer": "conv", "conv.variant": "residual", "depth": 1, "width": 32}
_ATTENTION = {"mixer": "attention", "attention.heads": 4, "depth": 2, "width": 64, "mlp_ratio": 2, "first": "same"}
FIRST = (
    {**_NETWORK, **_TRAINING, "learning_rate": 2e-3, "stages": 2, "stages.1.downsample": True}
    | {f"stages.0.{name}": value for name, value in _CONV.items()}
    | {f"stages.1.{name}": value for name, value in _ATTENTION.items()},
    {**_NETWORK, **_TRAINING, "learning_rate": 3e-3, "stages": 2, "stages.1.downsample": True}
    | {f"stages.{i}.{name}": value for i in (0, 1) for name, value in _CONV.items()},
)

STUDY = StudySpec(
    name="hybrid",
    question="Which hybrid of convolution, attention, Fourier and MLP mixing detects dark-matter substructure best?",
    space=SPACE,
    training=TRAINING,
    first=FIRST,
    trials=100,
    epochs=12,
    min_epochs=4,
    max_parameters=2_000_000,
    max_macs=12_000_000,
)
