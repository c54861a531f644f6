"""A retraining on another data set than the search's: its source, its folder, and whether the networks fit it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.errors import UserError
from nas.results import Results
from nas.retraining.choice import Choice
from nas.searching.study import task_with
from nas.sources import source_of
from search_space import cost, from_dict
from search_space.errors import ArchitectureError
from trainers.data import Dataset, Folder, Simulated, Source, source_from_dict, source_to_dict


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


def fitted(choice: Choice, results: Results, data: Dataset) -> Choice:
    """The choice with what its networks cost on these images, and without values of the search, which had others.

    UserError if the data does not suit the task and its objective, or a network cannot be built for them.
    """
    task = task_with(results.objective, results.task, data)
    shape = {"in_chans": data.in_chans, "image_size": data.image_size, "num_outputs": task.num_outputs}
    trials = []
    for trial in choice.trials:
        try:
            counted = cost(from_dict(trial.config["architecture"]), **shape)
        except ArchitectureError as error:
            size = f"{data.in_chans} x {data.image_size} x {data.image_size}"
            raise UserError(f"trial {trial.number} cannot be built for images of {size}: {error}") from error
        trials.append(replace(trial, parameters=counted.parameters, macs=counted.macs))
    return replace(choice, trials=tuple(trials), validation={})
