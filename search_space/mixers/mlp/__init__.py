"""Learnt linear maps over token positions."""

DEFAULT = "mixer"
