"""Where trained networks look: the ellipses of anisotropic heads, and attributions, on lenses whose truth is known.

    python benchmarks/looking.py --images 2000 --image-size 32 --seeds 2 [--keep FOLDER]

Trains one network of convolutions and anisotropic attention with a fixed direction (`gaussian`), or with one about the
centre (`polar`), on lenses that share an axis (`deeplense-1`, as stored) and on lenses turned at random (`fair`, with
d4). Each is searched as a study of one configuration, retrained over seeds and exported, and `nas.explain` says where
the model of all seeds looks. With --keep, finished ones are not trained again.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import nas
from nas.files import write_text
from nas.report.explanation_page import page, verdict
from search_space.space import PLAIN_TRANSFORMER
from studies import StudySpec
from studies.train_space import PLAIN_TRAINING
from trainers.data import Simulated

CASES = (("gaussian", "deeplense-1"), ("polar", "deeplense-1"), ("gaussian", "fair"), ("polar", "fair"))


def study(variant: str, preset: str, images: int, image_size: int, epochs: int) -> StudySpec:
    """A study of one configuration: two stages, in each a block of convolution and two of anisotropic attention."""
    space = replace(
        PLAIN_TRANSFORMER, stages=(2,), mixers=("anisotropic",), first=("conv",), depth=(3,), width=(32,),
        downsample=(True,), patch=(4,), grid=None, stem=("conv",), position=("none",), norm_layer=("batch",),
        options={"anisotropic": {"variant": (variant,), "heads": (4,)}, "conv": {"variant": ("residual",)}},
    )  # fmt: skip
    training = replace(PLAIN_TRAINING, normalisation=("asinh",), d4=(preset == "fair",), flip=(False,))
    return StudySpec(
        name=f"{variant}-{preset}", question="Where does it look?", space=space, training=training,
        data=Simulated(preset, images=images, image_size=image_size), epochs=epochs, min_epochs=epochs, trials=1,
        finals=0.0, baselines=(),
    )  # fmt: skip


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seeds", type=int, default=3)
    p.add_argument("--epochs", type=int, default=12)
    p.add_argument("--images", type=int, default=4000)
    p.add_argument("--image-size", type=int, default=64)
    p.add_argument("--explained", type=int, default=120, help="images that are explained")
    p.add_argument("--keep", type=Path, help="folder of the runs (default: a temporary one)")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for variant, preset in CASES:
            spec = study(variant, preset, args.images, args.image_size, args.epochs)
            results = nas.search(spec, runs=args.keep or scratch, workers=1, quiet=True)
            retrained = nas.retrain(results, top_k=1, seeds=args.seeds, quiet=True)
            model = nas.load_model(retrained.best, views=1)
            found = nas.explain(model, images=args.explained)
            metrics = retrained.configurations[0].spread["auc"]
            print(f"\n{variant} on {preset}: test AUC {metrics.mean:.3f} ± {metrics.sd or 0:.3f}")
            print(found.frame().to_string(index=False, float_format="{:.3f}".format))
            print(*verdict(found), sep="\n", flush=True)
            if args.keep:
                write_text(args.keep / spec.name / "explain.html", page(found, f"{variant} on {preset}"))


if __name__ == "__main__":
    main()
