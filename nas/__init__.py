"""Running a search, and using what it found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.models.export import load_model

__all__ = ["load_model"]


def __getattr__(name: str) -> Any:
    """`nas.load_model` on first use, so that importing a part of `nas` does not import torch."""
    if name == "load_model":
        from nas.models.export import load_model

        return load_model
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
