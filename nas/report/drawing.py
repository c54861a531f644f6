"""The drawing of an architecture: its parts from the image to the outputs, as an SVG that needs no legend.

It takes its ink from the text around it. Alone, it is black on nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from search_space.parts.front_end import unrolled_side
from search_space.symmetry import tied_group

WIDTH, ROW, GAP, TEXT = 380, 56, 30, 84  # of the drawing, of a part, between parts, left edge of the words; pixels
SIDE, SMALLEST = 44, 10  # of the squares of the largest and the smallest grid
MOST_CARDS, OFFSET = 5, 3  # squares behind each other for the blocks of a stage
MOST_LINES = 16  # cells a side to which a grid is drawn; finer ones look grey
LONGEST = 38  # letters of a line
FILL = 'fill="#2b6fd3" fill-opacity=".16" stroke="#2b6fd3"'
MIXERS = {
    "conv": "convolution", "attention": "attention", "linear_attention": "linear attention",
    "window": "attention in windows", "anisotropic": "anisotropic attention", "fourier": "Fourier mixing",
    "mlp": "MLP mixing",
}  # fmt: skip
STEMS = {"patch": "stem: linear map of patches", "conv": "stem: convolutions"}
POSITIONS = {
    "fixed_1d": "fixed, by row", "fixed_2d": "fixed, in 2D", "learnable": "learnt", "learnable_2d": "learnt, in 2D",
    "conditional": "conditional", "relative": "relative, in attention", "rotary": "rotary, in attention",
}  # fmt: skip
FRONT_ENDS = {
    "source": "with its source plane", "residual": "less the mean of rings", "gradient": "with its gradient",
    "polar": "unrolled, in polar coordinates",
}  # fmt: skip
HEADS = {"average": "mean over the grid", "class_token": "class token", "attention": "attention over the grid"}


@dataclass(frozen=True)
class Part:
    """One row of the drawing. `side`: tokens a side of its grid; `blocks`: squares behind each other."""

    kind: str
    title: str
    detail: str
    side: int | None = None
    blocks: int = 1
    before: str = ""  # what happens on the way into it
    data: Mapping[str, Any] | None = None


def drawing(architecture: Mapping[str, Any], shape: Mapping[str, int] | None = None) -> str:
    """Draw an architecture, given as JSON data.

    shape: "channels" and "side" of the images in pixels, and the number of "outputs". Without it, grids are drawn
    relative to the first.
    """
    drawn = list(parts(architecture, shape or {}))
    largest = max((part.side for part in drawn if part.side and part.kind != "image"), default=1)
    height, rows = 4, []
    for i, part in enumerate(drawn):
        if i:
            rows.append(_arrow(height, part.before))
            height += GAP
        rows.append(_row(part, height, largest))
        height += ROW
    said = escape(
        "; ".join(f"{part.title}: {part.detail}" if part.detail else part.title for part in drawn), quote=True
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="architecture" viewBox="0 0 {WIDTH} {height + 4}" '
        f'width="{WIDTH}" height="{height + 4}" font-family="system-ui, sans-serif" font-size="14" fill="currentColor" '
        f'role="img" aria-label="{said}">{"".join(rows)}</svg>'
    )


def parts(architecture: Mapping[str, Any], shape: Mapping[str, int]) -> Iterator[Part]:
    """The parts of an architecture in the order of the data, in words. Arguments as of `drawing`."""
    side = shape.get("side")
    pixels = f"{side} × {side} pixels, {_channels(shape['channels'])}" if side else ""
    yield Part("image", "image", pixels)
    out = {1: "one output"}.get(shape.get("outputs", 0), f"{shape.get('outputs', '')} outputs".strip())
    if "stages" not in architecture:
        name = str(architecture.get("name", architecture.get("kind", "network")))
        start = "starts from weights" if architecture.get("pretrained") or architecture.get("checkpoint") else ""
        start += f", {frozen:.0%} of layers frozen" if (frozen := architecture.get("frozen")) else ""
        yield Part("network", name, start, data={"name": name})
        yield Part("head", out, "")
        return
    front_end = architecture.get("front_end", "none")
    if front_end != "none":
        kind = front_end.removesuffix("_sham")
        control = " (a sham)" if front_end != kind else ""
        yield Part("front_end", "front end", f"{FRONT_ENDS.get(kind, kind)}{control}", data={"front_end": front_end})
    patch, first = int(architecture.get("patch", 4)), architecture["stages"][0]
    if side and front_end.startswith("polar"):
        cell = patch << sum(bool(stage.get("downsample")) for stage in architecture["stages"])
        side = unrolled_side(side, cell, symmetric=architecture.get("symmetry", "none") != "none")
    grid = -(-side // patch) if side else None
    stem, width = architecture.get("stem", "patch"), int(first["width"])
    yield Part(
        "stem", STEMS.get(stem, stem), _grid(grid, width), grid,
        before="a token for each pixel" if patch == 1 else f"a token for {patch} × {patch} pixels",
        data={"stem": stem, "patch": patch, "grid": grid, "width": width},
    )  # fmt: skip
    position = architecture.get("position", "none")
    where = f"position: {POSITIONS.get(position, position)}" if position != "none" else ""
    if where and architecture.get("position_place") == "blocks":
        where += ", in every block"
    for stage in architecture["stages"]:
        if grid and stage.get("downsample"):
            grid = (grid + 1) // 2
        before = "halves the grid" if stage.get("downsample") else where
        yield from _blocks(stage, grid, before)
        where = ""
    head = architecture.get("head", "average")
    symmetry = architecture.get("symmetry", "none")
    group = tied_group(front_end, symmetry)
    tied = f"all weights are tied over {'mirrors' if group == 'mirror' else group}" if group else ""
    yield Part("head", out, HEADS.get(head, head), before=tied, data={"head": head})


def _blocks(stage: Mapping[str, Any], grid: int | None, before: str) -> Iterator[Part]:
    """The blocks of a stage; its first one by itself if it has another mixer."""
    depth, width, first = int(stage["depth"]), int(stage["width"]), stage.get("first")
    groups = [(stage["mixer"], stage.get("options", {}), depth - (first is not None))]
    if first is not None:
        groups.insert(0, (first, stage.get("first_options", {}), 1))
    for mixer, options, blocks in groups:
        variant = options.get("variant")
        name = MIXERS.get(mixer, mixer) + (f", {variant}" if isinstance(variant, str) else "")
        yield Part(
            "blocks", f"{blocks} × {name}", _grid(grid, width), grid, blocks, before,
            {"mixer": mixer, "depth": blocks, "width": width, "grid": grid},
        )  # fmt: skip
        before = ""


def _grid(side: int | None, width: int) -> str:
    return f"{side} × {side} tokens, {_channels(width)}" if side else _channels(width)


def _channels(number: int) -> str:
    return f"{number} channel{'s' * (number != 1)}"


def _arrow(y: int, words: str) -> str:
    middle = SIDE // 2 + 8
    text = f'<text x="{TEXT}" y="{y + GAP // 2 + 4}" font-size="12" opacity=".75">{_line(words)}</text>' * bool(words)
    line = f"M{middle} {y + 2}V{y + GAP - 5}m-4 -5l4 5l4 -5"
    return f'<path d="{line}" fill="none" stroke="currentColor" opacity=".55"/>{text}'


def _line(text: str) -> str:
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def _row(part: Part, y: int, largest: int) -> str:
    data = "".join(
        f' data-{name}="{escape(str(v), quote=True)}"' for name, v in (part.data or {}).items() if v is not None
    )
    top = y + ROW // 2
    lines = [f'<text x="{TEXT}" y="{top + (-4 if part.detail else 5)}" font-weight="600">{_line(part.title)}</text>']
    if part.detail:
        lines.append(f'<text x="{TEXT}" y="{top + 15}" font-size="13" opacity=".8">{_line(part.detail)}</text>')
    return f'<g class="{part.kind}"{data}>{_picture(part, top, largest)}{"".join(lines)}</g>'


def _picture(part: Part, middle: int, largest: int) -> str:
    """A square with the part's grid, one behind the other for the blocks; a dot for what has no grid."""
    x = SIDE // 2 + 8
    if part.kind == "head":
        return f'<circle cx="{x}" cy="{middle}" r="6" {FILL}/>'
    side = SIDE if not part.side else max(SMALLEST, round(SIDE * (part.side / largest) ** 0.5))
    left, top, cards = x - side // 2, middle - side // 2, min(part.blocks, MOST_CARDS)
    shift = OFFSET * (cards - 1) // 2
    squares = [
        f'<rect x="{left + at}" y="{top - at}" width="{side}" height="{side}" rx="2" {FILL}/>'
        for at in (OFFSET * k - shift for k in reversed(range(cards)))
    ]
    lines = min(part.side or 1, MOST_LINES)
    step, x0, y0 = side / lines, left - shift, top + shift
    inner = "".join(f"M{x0 + step * k:.1f} {y0}v{side}M{x0} {y0 + step * k:.1f}h{side}" for k in range(1, lines))
    return "".join(squares) + (f'<path d="{inner}" stroke="#2b6fd3" stroke-width=".5" opacity=".6"/>' if inner else "")
