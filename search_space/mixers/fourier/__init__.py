"""Mixing in the Fourier domain."""

DEFAULT = "fnet2d"
