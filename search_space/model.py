"""From an architecture to a `torch.nn.Module` that maps images (B, in_chans, S, S) to (B, num_outputs)."""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.weight_init import variance_scaling_
from torch import Tensor, nn

from search_space import mixers
from search_space.architecture import RELATIONAL, Architecture, Backbone, Hybrid, Stage, Toy
from search_space.baselines.backbones import build_backbone
from search_space.baselines.toys import build_toy
from search_space.errors import ArchitectureError
from search_space.parts.block import Block
from search_space.parts.front_end import build_front_end, close
from search_space.parts.head import AttentionPool
from search_space.parts.norm import norm_of
from search_space.parts.position import build_position
from search_space.parts.relation import RelativeBias, Rotary
from search_space.parts.stem import CentredDownsample, CentredPatchStem, ConvStem, Downsample, PatchStem, halved
from search_space.symmetry import tie, tied_group


def build_model(architecture: Architecture, *, in_chans: int, image_size: int, num_outputs: int) -> nn.Module:
    """Return a freshly initialised network; seed torch's generator for a reproducible one.

    Raises:
        ArchitectureError: the architecture names an unknown mixer, option or backbone, its parts do not fit together,
            or its pretrained weights cannot be loaded.
    """
    for name, value in (("in_chans", in_chans), ("image_size", image_size), ("num_outputs", num_outputs)):
        if value < 1:
            raise ArchitectureError(f"{name}={value} is too small, expected at least 1")
    if isinstance(architecture, Toy):
        return build_toy(architecture.name, in_chans=in_chans, image_size=image_size, num_outputs=num_outputs)
    if isinstance(architecture, Backbone):
        return build_backbone(architecture, in_chans=in_chans, image_size=image_size, num_outputs=num_outputs)
    return HybridNet(architecture, in_chans=in_chans, image_size=image_size, num_outputs=num_outputs)


class StageNet(nn.Module):
    """Brings tokens, and a class token (B, 1, C) if any, to the stage's grid and width, then through its blocks."""

    def __init__(
        self, architecture: Hybrid, stage: Stage, grid: tuple[int, int], width: int, drop_path: list[float]
    ) -> None:
        """`grid` and `width` are those of the previous stage."""
        super().__init__()
        norm_layer = architecture.norm_layer
        if stage.downsample:
            if architecture.symmetry == "none":
                self.enter: nn.Module = Downsample(grid, width, stage.width, norm_layer)
            else:
                self.enter = CentredDownsample(grid[0], width, stage.width, norm_layer)
            grid = halved(grid)
        else:
            self.enter = nn.Linear(width, stage.width) if width != stage.width else nn.Identity()
        self.blocks = nn.ModuleList()
        for place, ((name, options), rate) in enumerate(zip(stage.blocks(), drop_path, strict=True)):
            index = place - (stage.first is not None and place > 0)  # among the blocks with this mixer
            mixer = mixers.build(name, stage.width, grid, index=index, options=options, norm_layer=norm_layer)
            self.blocks.append(
                Block(
                    stage.width,
                    mixer,
                    mlp_ratio=stage.mlp_ratio,
                    norm=architecture.norm,
                    norm_layer=norm_layer,
                    layer_scale=architecture.layer_scale,
                    drop_path=rate,
                )
            )
        self.positions = nn.ModuleList()
        if architecture.position in RELATIONAL:
            attentions: list[Any] = [b.mixer for b in self.blocks if getattr(b.mixer, "takes_relation", False)]
            relate(attentions, architecture.position, grid, shared=architecture.position_shared)
        elif architecture.position_place == "blocks":
            count = 1 if architecture.position_shared else stage.depth
            self.positions.extend(build_position(architecture.position, grid, stage.width) for _ in range(count))

    def forward(self, x: Tensor, token: Tensor | None) -> tuple[Tensor, Tensor | None]:
        x = self.enter(x)
        token = None if token is None else self.enter(token)
        for index, block in enumerate(self.blocks):
            if self.positions:
                x = self.positions[index % len(self.positions)](x)
            x, token = block(x, token)
        return x, token


class HybridNet(nn.Module):
    """Front end, stem, stages, norm, pooling and a linear head."""

    def __init__(self, architecture: Hybrid, *, in_chans: int, image_size: int, num_outputs: int) -> None:
        super().__init__()
        stages, patch = architecture.stages, architecture.patch
        if architecture.head == "class_token" and not mixers.trait(*stages[-1].blocks()[-1], "takes_token"):
            raise ArchitectureError(
                f"head='class_token' but the last mixer, {stages[-1].mixer!r}, takes no class token: use 'average'"
            )
        relational = architecture.position in RELATIONAL
        if relational and not any(mixers.trait(*b, "takes_relation") for stage in stages for b in stage.blocks()):
            raise ArchitectureError(
                f"position={architecture.position!r} acts inside attention, but no stage has the mixer 'attention'"
            )
        symmetric = architecture.symmetry != "none"
        if symmetric:
            mixers.check_equivariant(block for stage in stages for block in stage.blocks())
            if architecture.front_end == "polar":
                mixers.check_no_centre(block for stage in stages for block in stage.blocks())

        self.input_shape = (in_chans, image_size, image_size)
        cell = patch << sum(stage.downsample for stage in stages)
        self.front_end, in_chans, seen = build_front_end(
            architecture.front_end, in_chans, image_size, cell, symmetric=symmetric
        )
        side, width = -(-seen // patch), stages[0].width
        grid = (side, side)
        if architecture.stem == "conv":
            on = seen if symmetric else None
            self.stem: nn.Module = ConvStem(in_chans, patch, width, architecture.norm_layer, on)
        elif symmetric:
            self.stem = CentredPatchStem(in_chans, seen, patch, width, architecture.norm_layer)
        else:
            self.stem = PatchStem(in_chans, seen, patch, width, architecture.norm_layer)
        once = architecture.position_place == "once" and not relational
        self.position = build_position(architecture.position if once else "none", grid, width)
        self.token = None
        if architecture.head == "class_token":
            self.token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, width), std=0.02))

        rates = iter(drop_path_rates(architecture))
        self.stages = nn.ModuleList()
        for stage in stages:
            self.stages.append(StageNet(architecture, stage, grid, width, [next(rates) for _ in range(stage.depth)]))
            grid, width = halved(grid) if stage.downsample else grid, stage.width
        self.norm = norm_of(architecture.norm_layer)(width)
        self.pool = AttentionPool(width) if architecture.head == "attention" else None
        self.head = nn.Linear(width, num_outputs)
        self.apply(initialise)
        if architecture.front_end.startswith("polar"):
            close(self)
        if group := tied_group(architecture.front_end, architecture.symmetry):
            tie(self, next(m for m in self.stem.modules() if isinstance(m, nn.Conv2d)), self.head, group)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1:] != self.input_shape:
            raise ArchitectureError(
                f"images of shape {tuple(image.shape[1:])}, but the network was built for {self.input_shape}"
            )
        x = self.position(self.stem(self.front_end(image)))
        token = None if self.token is None else self.token.expand(x.shape[0], -1, -1)
        for stage in self.stages:
            x, token = stage(x, token)
        if token is not None:
            features = self.norm(token[:, 0])
        elif self.pool is not None:
            features = self.pool(self.norm(x))
        else:
            features = self.norm(x).mean(dim=(1, 2))
        out: Tensor = self.head(features)
        return out


def relate(attentions: list[Any], kind: str, grid: tuple[int, int], *, shared: bool) -> None:
    """Give the attention mixers of a stage a relative bias or a rotation."""
    for mixer in attentions:
        if kind == "rotary":
            mixer.rotary = Rotary(grid, mixer.dim // mixer.heads)
        elif shared and mixer is not attentions[0]:
            # Bypasses nn.Module's registration: a table listed twice would be stored twice, which safetensors refuses.
            object.__setattr__(mixer, "relative", attentions[0].relative)
        else:
            mixer.relative = RelativeBias(grid, mixer.heads)


def drop_path_rates(architecture: Hybrid) -> list[float]:
    """One rate per block, growing linearly from 0 to `drop_path` at the last block."""
    depth = sum(stage.depth for stage in architecture.stages)
    return [architecture.drop_path * (i / (depth - 1) if depth > 1 else 1.0) for i in range(depth)]


def initialise(module: nn.Module) -> None:
    """Glorot's scale for linear maps, fan-in scale for filters, both truncated; modules set their other tensors.

    At the widths searched here (32-128), ViT's fixed 0.02 starves the residual branches: on oriented bars every mixer
    learns faster with these scales.
    """
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return
    if not module.weight.is_meta:
        mode = "fan_avg" if isinstance(module, nn.Linear) else "fan_in"
        variance_scaling_(module.weight, mode=mode, distribution="truncated_normal")
    if module.bias is not None:
        nn.init.zeros_(module.bias)
