"""What can be built: architectures as data, the spaces they are sampled from, the networks, and their cost."""

from search_space.architecture import Architecture, Backbone, Hybrid, Stage, Toy, from_dict, to_dict
from search_space.bounds import Bound, Range
from search_space.cost import Cost, cost
from search_space.errors import ArchitectureError
from search_space.existing import BackboneSpace, ToySpace
from search_space.model import build_model
from search_space.space import HybridSpace

__all__ = [
    "Architecture",
    "ArchitectureError",
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
