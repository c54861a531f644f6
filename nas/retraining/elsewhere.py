"""A retraining on another data set than the search's: its source and its folder."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.results import Results
from nas.sources import source_of
from trainers.data import Folder, Simulated, Source, source_from_dict, source_to_dict


def other_source(results: Results, data: Any, **options: Any) -> Source | None:
    """The source that `data` means, as in `nas.search`; None if it is the search's own. `options` as in `source_of`.

    Images are brought to the size of the search's, unless `data` is a source, which has its own.
    """
    own = source_from_dict(results.spec["data"])
    size = None if isinstance(data, Source) else own.image_size
    source = source_of(data, size, **options)
    return None if source == own else source


def moved(results: Results, source: Source) -> Results:
    """The study as if it had searched on the images of `source`."""
    return replace(results, spec={**results.spec, "data": source_to_dict(source)}, images=None)


def folder_name(source: Source) -> str:
    """`data-lenses-1f3a5b7c`: a name for people, and a digest of every field."""
    if isinstance(source, Folder):
        name = Path(source.path).name
    else:
        name = source.preset if isinstance(source, Simulated) else getattr(source, "name", "arrays")
    digest = hashlib.sha256(json.dumps(source_to_dict(source), sort_keys=True).encode()).hexdigest()
    plain = re.sub(r"[^\w.-]+", "-", name)
    return f"data-{plain}-{digest[:8]}"
