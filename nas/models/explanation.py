"""`nas.explain`: where in the images an exported model looks, and whether that is where the substructure is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nas.checks import check_number
from nas.errors import ModelFailed, UserError, mendable
from nas.models.attribution import attributions
from nas.models.evaluation import check_data, check_kind, dataset_for, own_source, source_for, wanted
from nas.models.export import LensModel, evaluating, opened, untrained
from nas.models.heads import Head, heads
from nas.models.regions import Profile, Region, profile, regions
from nas.sources import FOLDER_ONLY
from nas.words import describe_data
from trainers.data import Simulated, source_to_dict
from trainers.data.simulated.population import CLASSES
from trainers.tasks import quantity

if TYPE_CHECKING:
    import pandas as pd

    from trainers.data.simulated.known import KnownLenses

IMAGES, MOST = 60, 10_000
OTHER_SEED = 1_000_001  # of simulated lenses that neither a training nor `nas.evaluate` saw by default
OF_RINGS = np.linspace(0.0, 2.0, 21)  # edges of the rings of a profile, in Einstein radii
OF_SIDES = np.linspace(0.0, 1.0, 17)  # the same in half sides of the image


@dataclass(frozen=True)
class Explanation:
    """What N images say about where a model looks. Shares are of the absolute attribution of an image's pixels."""

    data: str
    answer: str  # what the attribution is of
    regions: tuple[Region, ...]  # empty where nobody knows where the substructure is
    profile: Profile
    heads: tuple[Head, ...]  # the anisotropic ones
    axis: tuple[float, float] | None  # mean axis of the shear, degrees, and how far it is common to the images, 0 to 1
    additivity: float  # correlation over the images of the sum of the attribution with what it should be
    classes: tuple[str, ...]
    labels: np.ndarray  # (N,)
    images: np.ndarray  # (N, C, S, S) as stored
    maps: np.ndarray  # (N, S, S): the attribution, summed over channels
    signal: np.ndarray | None  # (N, S, S): chi^2 of the substructure, where it is known
    named: bool = False  # whether the channels are bands with names, which are in order of wavelength

    def frame(self) -> pd.DataFrame:
        """The regions as a table of pandas."""
        import pandas as pd

        return pd.DataFrame([vars(region) | {"times": region.times} for region in self.regions])


@mendable
def explain(
    model: LensModel | str | Path,
    data: Any = None,
    *,
    images: int = IMAGES,
    of: str | None = None,
    split: str = "all",
    **options: Any,
) -> Explanation:
    """Attribute the answers of a model, or of that in a folder, about `images` images to their pixels.

    `data` is anything that `nas.evaluate` takes, with its `options` of reading, drawn from at random; None: the data
    that the model was trained on. A population of simulated lenses is drawn anew (of a `Simulated` with the seed of the
    training images, some may be among these), and of these it is known where the
    substructure is and which pixels show it: `regions` says how much of the attribution is there. of: a class, whose
    log-odds are explained, or one of several measured quantities; None: each image's own class, or the first quantity.
    UserError if the model does not fit the data, ModelFailed if it gives every image the same answer.
    """
    model = opened(model)
    check_number("images", images, 2, MOST, whole=True)
    column, answer = _answer(model, of)
    if data is None and (given := [name for name, value in options.items() if value]):
        raise UserError(f"{given[0]} says how other images are read; give them as data")
    known_options = sorted(set(FOLDER_ONLY) - {"clip", "fit"})  # which are the model's own
    if unknown := set(options).difference(known_options):
        raise UserError(f"{min(unknown)} is no option of reading; known: {', '.join(known_options)}")
    source = own_source(model) if data is None else data
    if source is None:
        raise UserError("the images that the model was trained on are not known, or they are gone; give others")
    known = None
    if isinstance(source, Simulated):
        if split != "all":
            raise UserError(f"split is {split!r}, but simulated lenses are drawn anew; leave it out")
        source_for(model, source, **options)  # refuses options of folders
        known = _drawn(model, source if data is not None else replace(source, seed=OTHER_SEED), images)
    found = dataset_for(model, source, **options) if known is None else known.data
    check_data(model, found)
    some = wanted(model, found, split if known is None else "all")
    if len(some) < 2:
        raise UserError(f"{found.name} has {len(some)} images that suit the model; expected 2 or more")
    some = some.rows(torch.randperm(len(some), generator=torch.Generator().manual_seed(0))[:images].sort().values)
    targets = some.labels if column is None else torch.full((len(some),), column)
    pixels = some.images[:].cpu()
    with evaluating(model):
        pixel_shares, sums = attributions(model, pixels, targets)
    control, _ = attributions(untrained(model), pixels, targets)
    maps, of_untrained = (shares.abs().sum(1).numpy() for shares in (pixel_shares, control))
    if not maps.any():
        raise ModelFailed("the model gives every image the same answer, which no pixel explains")
    if known is not None:
        assert some.objects is not None
        known = known.rows(some.objects.numpy())
        by_radius = profile("Einstein radii", known.radius, OF_RINGS, maps, known.light)
    else:
        light = pixels.double().sum(1).clamp_min(0).numpy()  # an image without its background has pixels below 0
        by_radius = profile("half sides of the image", _radius(maps), OF_SIDES, maps, light)
    return Explanation(
        data=found.name,
        answer=answer,
        regions=() if known is None else tuple(regions(known, maps, of_untrained)),
        profile=by_radius,
        heads=tuple(heads(model)),
        axis=None if known is None else known.axis(),
        additivity=float(np.corrcoef(pixel_shares.sum((1, 2, 3)).numpy(), sums.numpy())[0, 1]),
        classes=model.classes,
        labels=some.labels.numpy(),
        images=pixels.numpy(),
        maps=pixel_shares.sum(1).numpy(),
        signal=known.signal if known is not None and known.signal.any() else None,
        named=bool(model.channels),
    )


def _drawn(model: LensModel, source: Simulated, images: int) -> KnownLenses:
    from trainers.data.simulated.known import draw_known  # caustics takes a second to import

    check_kind(model, f"population {source.preset}", CLASSES, 1)
    images *= 1 if model.task.classifies else len(CLASSES)  # some quantities belong to one class alone
    name = describe_data(source_to_dict(replace(source, images=max(images, 21))))
    return draw_known(source.population(), name, model.image_size, images, source.seed)


def _radius(maps: np.ndarray) -> np.ndarray:
    """The distance of each pixel from the centre in half sides, like `maps` (N, S, S)."""
    side = maps.shape[-1]
    axis = (np.arange(side) - (side - 1) / 2) / (side / 2)
    return np.broadcast_to(np.hypot(axis, axis[:, None]), maps.shape)


def _answer(model: LensModel, of: str | None) -> tuple[int | None, str]:
    """The column of the answer, None for each image's own class, and the answer in words."""
    if model.task.classifies:
        if of is None:
            return None, "log-odds of the true class"
        names, words = model.classes, f"log-odds of {of}"
    else:
        names = getattr(model.task, "target", ()) or (quantity(model.task),)
        of = names[0] if of is None else of
        words = of
    if of not in names:
        raise UserError(f"of is {of!r}; expected one of {', '.join(names)}")
    return list(names).index(of), words


def record(found: Explanation) -> dict[str, Any]:
    """All but the pixels, as plain JSON."""
    return {
        "data": found.data,
        "images": len(found.images),
        "answer": found.answer,
        "regions": [asdict(region) | {"times": region.times} for region in found.regions],
        "profile": asdict(found.profile),
        "heads": [asdict(head) for head in found.heads],
        "axis": found.axis,
        "additivity": found.additivity,
    }
