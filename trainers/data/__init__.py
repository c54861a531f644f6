"""Images to train on: simulated lenses, or a folder of one's own."""

from trainers.data.dataset import Dataset, Split, joined
from trainers.data.source import Folder, Simulated, Source, load, source_from_dict, source_to_dict

__all__ = ["Dataset", "Folder", "Simulated", "Source", "Split", "joined", "load", "source_from_dict", "source_to_dict"]
