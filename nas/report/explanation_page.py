"""The page of `nas.explain`: how much of the attribution is where, maps of single images, and the heads' ellipses."""

from __future__ import annotations

from html import escape

import numpy as np
from rich import box
from rich.table import Table

from nas.models.explanation import Explanation
from nas.models.heads import apart
from nas.models.regions import RING
from nas.report.document import document, header, html_table, picture, plot, section
from nas.report.explanation_figures import COLUMNS, COMMON, ellipses, profile, sheets
from nas.words import count
from trainers.data.simulated.known import NEAR

HEAD = ("pixels", "images", "area", "light", "attribution", "untrained", "times")
PLACES = {
    "near the substructure": "near the substructure",
    "half of its signal": "in the few pixels that hold half of the substructure's signal",
}
ROUND = 0.05  # the ellipticity up to which a head is called round
STYLE = """
.maps img { width: 100%; image-rendering: pixelated; display: block; border-radius: 4px; }
.maps figure { margin: 0 0 1rem; }
.maps figcaption { color: var(--soft); font-size: .88rem; margin-bottom: .3rem; overflow-wrap: anywhere; }
"""


def rows(found: Explanation) -> list[list[str]]:
    """The cells of the table of regions."""
    return [
        [
            r.name, f"{r.images}", f"{r.area:.1%}", f"{r.light:.1%}",
            f"{r.attribution:.1%} [{100 * r.interval[0]:.1f}, {100 * r.interval[1]:.1f}]", f"{r.untrained:.1%}",
            f"{r.times:.1f}",
        ]
        for r in found.regions
    ]  # fmt: skip


def table(found: Explanation) -> Table:
    """The regions for the terminal."""
    t = Table(*HEAD, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for row in rows(found):
        t.add_row(*row)
    return t


def verdict(found: Explanation) -> list[str]:
    """Whether the model looks where the substructure is, in sentences."""
    sentences = []
    if found.regions:
        last = found.regions[-1]
        (low, high), (least, most) = ((100 * a, 100 * b) for a, b in (last.interval, last.beyond))
        place = PLACES.get(last.name, f"in {last.name}")
        difference = 100 * (last.attribution - last.rival)
        decided = "more" if least > 0 else "less" if most < 0 else "not decided to be more"
        sentences.append(
            f"{last.attribution:.1%} [{low:.1f}, {high:.1f}] of the attribution lies {place}, beside {last.area:.1%} "
            f"of the area, {last.light:.1%} of the light and {last.untrained:.1%} with random weights. The difference "
            f"from the largest of these is {difference:+.1f} [{least:+.1f}, {most:+.1f}]: {decided}."
        )
    return [*sentences, *_about_heads(found)]


def page(found: Explanation, model: str) -> str:
    """The whole page of the model in the folder `model`."""
    figures = {"profile": profile(found)}
    parts = []
    if found.regions:
        parts.append(section(
            "Where it looks",
            "The share of each image's area, light and absolute attribution that lies in some of its pixels, averaged "
            "over the images that have such, with 95% intervals over them. A network that looked everywhere alike "
            "would have the share of the area, one that looked at bright pixels that of the light. Untrained: the same "
            "networks with random weights. Times: attribution over area. "
            f"The ring: {RING[0]:g} to {RING[1]:g} Einstein radii. Near the substructure: within {NEAR:g} arcsec of "
            "the point masses that hold most of it. Half of its signal: the fewest pixels that hold half of what no "
            "lens without substructure can imitate.",
            html_table(HEAD, rows(found), words={0}),
        ))  # fmt: skip
    signal = "" if found.signal is None else (
        ", and what no lens without substructure can imitate, in units of the noise"
    )  # fmt: skip
    pictures = "".join(picture(name, uri, f"{100 * n / COLUMNS:.4g}%") for name, uri, n in sheets(found))
    parts.append(section(
        "Maps",
        f"Each image, the attribution of its pixels (orange for, blue against){signal}. Every picture has its own "
        "scale.",
        f"<div class=maps>{pictures}</div>",
    ))  # fmt: skip
    parts.append(section(
        "By radius",
        "The density of the attribution and of the light in rings about the centre; 1 is the mean of the image.",
        plot("profile", figures["profile"]),
    ))  # fmt: skip
    if found.heads:
        figures["heads"] = ellipses(found)
        parts.append(section(
            "Anisotropic heads",
            " ".join(_about_heads(found)) + " An ellipticity of 0 looks the same in all directions.",
            plot("heads", figures["heads"]),
        ))  # fmt: skip
    facts = {
        "Data": escape(found.data),
        "Images": f"{len(found.images)}",
        "Method": escape(
            f"attribution of the {found.answer}, by expected gradients (Erion et al. 2021); its sums correlate with "
            f"what they should be by {found.additivity:.3f}"
        ),
    }
    body = "\n".join([header(model, "Where the model looks", facts, verdict(found)), *parts])
    return document(f"Where {model} looks", body, figures, style=STYLE)


def _about_heads(found: Explanation) -> list[str]:
    """What the ellipses say: of fixed directions against the shear, of those about the centre against the ring."""
    said = []
    fixed = [head for head in found.heads if head.reference == "rows"]
    shaped = [head for head in fixed if head.ellipticity > ROUND]
    if fixed and not shaped:
        most = max(head.ellipticity for head in fixed)
        said.append(
            f"{count(len(fixed), 'head')} of fixed direction stayed round, with an ellipticity of at most {most:.2f}."
        )
    elif fixed and found.axis is not None and found.axis[1] >= COMMON:
        angle = np.mean([apart(head.angle, found.axis[0]) for head in shaped])
        said.append(
            f"{len(shaped)} of {count(len(fixed), 'head')} of fixed direction are elongated, on average {angle:.0f} "
            "degrees away from the axis along which the lenses' shear stretches; 45 would be random."
        )
    elif fixed and found.axis is not None:
        said.append(
            f"{len(shaped)} of {count(len(fixed), 'head')} of fixed direction are elongated, but the shear of these "
            "lenses has no common axis to follow."
        )
    if polar := [head for head in found.heads if head.reference == "radius"]:
        shaped = [head for head in polar if head.ellipticity > ROUND]
        along = sum(head.angle > 45 for head in shaped)
        said.append(
            f"Of {count(len(polar), 'head')} in polar coordinates, {along} look further along the ring than across it, "
            f"{len(shaped) - along} further across it, and {len(polar) - len(shaped)} about equally far."
        )
    return said
