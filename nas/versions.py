"""The versions of what numbers depend on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "lensing-nas",
    "torch",
    "timm",
    "optuna",
    "ray",
    "numpy",
    "scipy",
    "scikit-learn",
    "caustics",
    "torchvision",
)


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that numbers depend on; None where one is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def installed(package: str) -> str:
    """The version of a package, or that it is not installed as one."""
    return _version(package) or "not installed as a package"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
