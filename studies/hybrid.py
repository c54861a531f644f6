"""The main study: which mixers, in which order, with which training. Its small size; `hybrid_base`, `hybrid_large`.

The three sizes are one definition with other bounds, limits and budgets. The space names the grid of tokens and not
the patch, so that it suits images of any size: a grid of 16 is a patch of 2 at 32 pixels, of 4 at 64. Patches are
powers of two, so at other sizes a grid may have 1.4 times as many tokens a side; the limits leave room for that.
The small size has no layer norm: with it, networks like the given ones score lower at every rate (studies/README.md).
"""

from typing import Any

from search_space import HybridSpace, Range
from search_space.bounds import Bound
from studies.spec import StudySpec
from studies.train_space import POLICIES, TrainSpace

QUESTION = "Which hybrid of convolution, attention, Fourier and MLP mixing detects dark-matter substructure best?"

# Rates below 5e-4 learn too slowly for twelve epochs, with either norm (studies/README.md).
TRAINING = TrainSpace(learning_rate=Range(5e-4, 1e-2, log=True), batch_size=(32, 64), ema=(0.0, 1.0), policies=POLICIES)


def hybrid_space(
    grid: Bound,
    width: Bound,
    depth: Bound,
    norm_layer: Bound = ("batch", "layer"),
    head: Bound = ("average", "attention", "class_token"),
) -> HybridSpace:
    """Any of six mixers in each of up to four stages, after a convolutional stem.

    A stem of single patches is worse in random networks by 0.10 of AUC at 64 pixels (benchmarks/README.md).
    """
    return HybridSpace(
        depth=depth,
        width=width,
        grid=grid,
        stem=("conv",),
        position=("none", "fixed_1d", "fixed_2d", "learnable"),
        position_place=("once",),
        norm=("pre",),
        layer_scale=(0.0,),
        norm_layer=norm_layer,
        head=head,
        drop_path=(0.0, 0.1),
        symmetry=("none", "d4"),
        front_end=("none", "polar"),
        options={
            "conv": {"variant": ("separable", "residual")},
            "window": {"variant": ("v1",)},
            "anisotropic": {"variant": ("gaussian", "polar", "cross"), "heads": (1, 2, 4)},  # suit every width
            "fourier": {"variant": ("fnet2d", "gfnet")},
            "mlp": {"variant": ("mixer",)},
        },
    )


def given(
    mixers: str, widths: tuple[int, ...], symmetry: str = "none", front_end: str = "none", **more: Any
) -> dict[str, Any]:
    """Parameters of a first trial: a network of two blocks per mixer, "c" or "a", and a training known to be good.

    One with weights tied over a symmetry has no position embedding, and its head is the mean over the grid. The sampler
    learns from it as from any other trial. Parameters that are not named here are sampled.
    """
    network: dict[str, Any] = {"drop_path": 0.0, "symmetry": symmetry, "front_end": front_end}
    if "a" in mixers and symmetry == "none":
        network["position"] = "fixed_2d"
    training = {"batch_size": 32, "learning_rate": 2e-3, "weight_decay": 0.02, "label_smoothing": 0.0, "ema": 0.0}
    stages = {"stages": len(mixers), **{f"stages.{i}.downsample": True for i in range(1, len(mixers))}}
    kinds: dict[str, dict[str, Any]] = {
        "c": {"mixer": "conv", "conv.variant": "residual", "depth": 2},
        "a": {"mixer": "attention", "attention.heads": 4, "depth": 2, "mlp_ratio": 2, "first": "same"},
    }
    for i, (mixer, width) in enumerate(zip(mixers, widths, strict=True)):
        stages |= {f"stages.{i}.{name}": value for name, value in {**kinds[mixer], "width": width}.items()}
        if symmetry != "none":  # fewer mixers to choose from
            stages[f"stages.{i}.mixer.{symmetry}"] = stages.pop(f"stages.{i}.mixer")
    return {**network, **training, "normalisation": "asinh", "augmentation": "d4", **stages, **more}


# What an ordinary given network has besides, in a size that also asks for the norm, and a symmetric one.
WITH_NORM = {"norm_layer": "batch", "head.pooled": "average"}
SYMMETRIC: dict[str, Any] = {"norm_layer": "batch", "symmetry": "d4"}

# What an expert would write down: convolutions that double the width as they halve the grid, on a fine grid or wide
# from the start, with weights tied over d4; then one with attention late, and without tied weights. Polar coordinates
# are worth most, where the lens is in the middle; one network does without. A second block in each stage is worth more
# than a finer grid or twice the epochs, and d4 by construction more than by augmentation (benchmarks/README.md).
FIRST = (
    given("cccc", (16, 32, 64, 128), grid=32, symmetry="d4", front_end="polar"),
    given("cccc", (16, 32, 64, 128), grid=32, symmetry="d4"),
    given("ccc", (32, 64, 128), grid=16, symmetry="d4", front_end="polar"),
    given("cca", (32, 64, 128), grid=16, head="average", front_end="polar"),
)

STUDY = StudySpec(
    name="hybrid",
    question=QUESTION,
    space=hybrid_space(
        grid=(8, 16, 32),
        width=Range(16, 128, 16),
        depth=Range(1, 3),
        norm_layer=("batch",),
        head=("average", "attention"),
    ),
    training=TRAINING,
    first=FIRST,
    trials=100,
    epochs=12,
    min_epochs=4,
    max_parameters=2_000_000,
    max_macs=95_000_000,
)
