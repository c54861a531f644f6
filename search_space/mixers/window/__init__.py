"""Attention within windows, shifted in every second block (Swin)."""

DEFAULT = "v1"
