"""Search for networks that analyse images of gravitational lenses, and use what was found.

nas.audit("folder")
results = nas.search("hybrid", trials=20, data="folder")
results.frame()
retrained = nas.retrain(results, top_k=3, seeds=3)
model = nas.load_model(retrained.best)
nas.predict(model, images)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from nas.shadowed import shadowed

if TYPE_CHECKING:
    from nas.auditing import audit
    from nas.errors import ModelFailed, SearchFailed, Stopped, UserError
    from nas.models.evaluation import Evaluation, evaluate
    from nas.models.export import LensModel, load_model
    from nas.models.inference import Measurement, Prediction, predict
    from nas.report.page import write_report
    from nas.results import Results, Trial, load_results
    from nas.retraining.retrain import retrain
    from nas.retraining.retrained import Retrained
    from nas.searching.search import search

# Imported on first use: importing a part of `nas` must not wait for torch, Ray and Optuna.
_HOME = {
    "Evaluation": "nas.models.evaluation",
    "LensModel": "nas.models.export",
    "Measurement": "nas.models.inference",
    "ModelFailed": "nas.errors",
    "Prediction": "nas.models.inference",
    "Results": "nas.results",
    "Retrained": "nas.retraining.retrained",
    "SearchFailed": "nas.errors",
    "Stopped": "nas.errors",
    "Trial": "nas.results",
    "UserError": "nas.errors",
    "audit": "nas.auditing",
    "evaluate": "nas.models.evaluation",
    "load_model": "nas.models.export",
    "load_results": "nas.results",
    "predict": "nas.models.inference",
    "retrain": "nas.retraining.retrain",
    "search": "nas.searching.search",
    "write_report": "nas.report.page",
}

__all__ = [
    "Evaluation",
    "LensModel",
    "Measurement",
    "ModelFailed",
    "Prediction",
    "Results",
    "Retrained",
    "SearchFailed",
    "Stopped",
    "Trial",
    "UserError",
    "audit",
    "evaluate",
    "load_model",
    "load_results",
    "predict",
    "retrain",
    "search",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    if hidden := shadowed():
        raise ImportError(hidden)
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
