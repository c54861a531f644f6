"""The Gaussian bias in radial and tangential components about the image's centre.

It is anisotropic without preferring an axis on the sky: lensed arcs are tangential at any angle. As `gaussian`, with
(d . r_i, d . t_i) for d, where r_i points from the centre to the query and t_i is perpendicular to it. A mirror turns
t_i round, so a tilt b or a peak beside the radius would prefer a handedness that the sky does not have: b and the
tangential component of mu are 0. A turned or mirrored input then gives the turned or mirrored output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from search_space.mixers.anisotropic import gaussian

sample = gaussian.sample


class Mixer(gaussian.Mixer):
    """`ellipse` measures angles from the radial direction to the tangential one."""

    equivariant = True
    knows_centre = True
    frame: Tensor
    middle: Tensor

    def __init__(self, dim: int, grid: tuple[int, int], *, heads: int = 4) -> None:
        super().__init__(dim, grid, heads=heads)
        self.register_parameter("shear", None)
        self.centre = nn.Parameter(torch.zeros(heads))  # the radial component of mu
        radius = self.place.norm(dim=-1, keepdim=True)
        # The middle token of an odd grid has no radial direction: it gets the mean precision and no shift.
        self.register_buffer("middle", radius == 0, persistent=False)
        x, y = (self.place / radius.clamp(min=1e-9)).T
        frame = torch.stack([x, -y, y, x], dim=-1).view(-1, 2, 2)  # columns r_i, t_i
        self.register_buffer("frame", frame, persistent=False)

    def precision(self) -> Tensor:
        return (2 * self.log_diagonal).exp().diag_embed()

    def gaussians(self) -> tuple[Tensor, Tensor]:
        own = self.precision()[:, None]
        round_ = own.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * torch.eye(2, device=own.device)
        precision = torch.where(self.middle[..., None], round_, self.frame @ own @ self.frame.mT)
        return precision, self.place + self.centre[:, None, None] * self.frame[..., 0]
