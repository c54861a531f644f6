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
    from nas.models.explanation import Explanation, explain
    from nas.models.export import LensModel, load_model
    from nas.models.formats import Written, export
    from nas.models.inference import predict
    from nas.models.predicted import Measurement, Prediction
    from nas.models.selection import Selection, select
    from nas.paper.figures import figures, sample_images
    from nas.paper.maps import attribution_maps
    from nas.paper.methods import methods
    from nas.paper.notebook import notebook
    from nas.paper.tables import tables
    from nas.reading import load_results
    from nas.report.conclusion import conclusion
    from nas.report.page import write_report
    from nas.results import Results
    from nas.retraining.retrain import retrain
    from nas.retraining.retrained import Retrained, load_retrained
    from nas.searching.search import search
    from nas.trials import Trial

# Imported on first use: importing a part of `nas` must not wait for torch, Ray and Optuna.
_HOME = {
    "Evaluation": "nas.models.evaluation",
    "Explanation": "nas.models.explanation",
    "LensModel": "nas.models.export",
    "Measurement": "nas.models.predicted",
    "ModelFailed": "nas.errors",
    "Prediction": "nas.models.predicted",
    "Results": "nas.results",
    "Retrained": "nas.retraining.retrained",
    "SearchFailed": "nas.errors",
    "Selection": "nas.models.selection",
    "Stopped": "nas.errors",
    "Trial": "nas.trials",
    "UserError": "nas.errors",
    "Written": "nas.models.formats",
    "attribution_maps": "nas.paper.maps",
    "audit": "nas.auditing",
    "conclusion": "nas.report.conclusion",
    "evaluate": "nas.models.evaluation",
    "explain": "nas.models.explanation",
    "export": "nas.models.formats",
    "figures": "nas.paper.figures",
    "load_model": "nas.models.export",
    "load_results": "nas.reading",
    "load_retrained": "nas.retraining.retrained",
    "methods": "nas.paper.methods",
    "notebook": "nas.paper.notebook",
    "predict": "nas.models.inference",
    "retrain": "nas.retraining.retrain",
    "sample_images": "nas.paper.figures",
    "search": "nas.searching.search",
    "select": "nas.models.selection",
    "tables": "nas.paper.tables",
    "write_report": "nas.report.page",
}

__all__ = [
    "Evaluation",
    "Explanation",
    "LensModel",
    "Measurement",
    "ModelFailed",
    "Prediction",
    "Results",
    "Retrained",
    "SearchFailed",
    "Selection",
    "Stopped",
    "Trial",
    "UserError",
    "Written",
    "attribution_maps",
    "audit",
    "conclusion",
    "evaluate",
    "explain",
    "export",
    "figures",
    "load_model",
    "load_results",
    "load_retrained",
    "methods",
    "notebook",
    "predict",
    "retrain",
    "sample_images",
    "search",
    "select",
    "tables",
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
