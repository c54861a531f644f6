"""What can be built: architectures as data, the space they are sampled from, the networks, and their cost."""

from .architecture import Architecture, Backbone, Hybrid, Stage, Toy, from_dict, to_dict
from .bounds import Bound, Range
from .cost import Cost, cost
from .model import build_model
from .space import BackboneSpace, HybridSpace, ToySpace

__all__ = [
    "Architecture",
    "Backbone",
    "BackboneSpace",
    "Bound",
    "Cost",
    "Hybrid",
    "HybridSpace",
    "Range",
    "Stage",
    "Toy",
    "ToySpace",
    "build_model",
    "cost",
    "from_dict",
    "to_dict",
]
