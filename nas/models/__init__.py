"""Trained networks as folders: written, described, loaded, used and measured."""
