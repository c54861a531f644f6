"""Convolutional mixers."""

DEFAULT = "separable"
