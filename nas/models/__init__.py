"""Trained networks as folders: write, describe, load, use and measure them."""
