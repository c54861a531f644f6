"""Images to train on: simulated lenses, or one's own in a folder, from a function or in memory."""

from trainers.data.dataset import Dataset, Images, Split, joined
from trainers.data.limits import limit
from trainers.data.loading import from_arrays, load, opened
from trainers.data.source import Arrays, Folder, Function, Simulated, Source, source_from_dict, source_to_dict

__all__ = [
    "Arrays",
    "Dataset",
    "Folder",
    "Function",
    "Images",
    "Simulated",
    "Source",
    "Split",
    "from_arrays",
    "joined",
    "limit",
    "load",
    "opened",
    "source_from_dict",
    "source_to_dict",
]
