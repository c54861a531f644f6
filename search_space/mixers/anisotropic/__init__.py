"""Attention whose strength depends on direction as well as distance."""

DEFAULT = "gaussian"
