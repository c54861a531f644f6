"""A paragraph on methods, from what the study recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from nas.errors import mendable
from nas.paper.record import latest
from nas.results import Results
from nas.retraining.retrained import of_today
from nas.run_folder import RunFolder
from nas.words import COSTS, count, describe_data, duration, markdown, objective_name, si


@mendable
def methods(results: Results) -> str:
    """Data, space, budget, seeds, hardware, versions and commands, in Markdown."""
    retrained = results.retraining()
    parts = [_data(results), _space(results), _budget(results), _finals(results)]
    parts += [_retraining(retrained)] if retrained else []
    run = RunFolder(results.database.parent) if results.database else None
    start = latest(run.reproduce) if run else None
    if start is not None:
        parts.append(_made_with(start))
    text = " ".join(filter(None, parts))
    commands = [start["command"]] if start else []
    commands += [retrained["command"]] if retrained and retrained.get("command") else []
    return f"{text}\n" + "".join(f"\n    {command}" for command in commands) + "\n" * bool(commands)


def _data(results: Results) -> str:
    line = f"Data: {markdown(describe_data(results.spec['data']))}"
    if results.images:
        train, val, test = results.images["counts"]
        classes = results.images["classes"]
        line += f"; {train:,} training, {val:,} validation and {test:,} test images"
        line += f" of {len(classes)} classes ({markdown(', '.join(classes))})" if len(classes) > 1 else ""
        line += f", digest {results.images['digest']}"
    return f"{line}."


def _space(results: Results) -> str:
    """The bounds of networks, and whether their training varied too; of a grid, what it crosses."""
    space = results.spec.get("space") or {}
    if results.grid:
        names = results.parameters
        cells = len({t.without_seed for t in results.trained})
        crossed = f" of a grid that differ in {markdown(', '.join(names))}" if names else ""
        seeds = count(results.spec["seeds"], "seed")
        return f"{count(cells, 'configuration')}{crossed} {'was' if cells == 1 else 'were'} trained, with {seeds} each."
    if "mixers" not in space:
        return ""
    chosen = {name: _bound(value) for name, value in space.items() if name in ("stages", "depth", "width", "mlp_ratio")}
    bounds = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in chosen.items())
    trainings = {json.dumps(t.config.get("training"), sort_keys=True) for t in results.trained}
    return (
        f"Networks are a stem, stages of blocks and a head, with these mixers: {', '.join(space['mixers'])}; {bounds}."
        + " Training was searched along with them." * (len(trainings) > 1)
    )


def _bound(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{value['low']:g} to {value['high']:g}"
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def _budget(results: Results) -> str:
    spec, counts = results.spec, results.counts()
    ended = counts["complete"] + counts["pruned"] + counts["failed"]
    seconds = sum(t.seconds or 0.0 for t in (*results.trained, *results.repeats))
    limits = f"{si(spec.get('max_parameters'))} parameters and {si(spec.get('max_macs'))} multiply-accumulates"
    if seconds_allowed := spec.get("max_seconds"):
        limits += f", and a full training took at most {seconds_allowed:g} s"
    compared = objective_name(results.objective)
    if results.cost:
        compared = f"the front of {COSTS[results.cost]} and {compared}"
    trained = count(ended, "training" if results.grid else "configuration")
    return (
        f"The sampler {spec.get('sampler')} and the scheduler {spec.get('scheduler')} (seed {spec.get('seed')}) "
        f"searched {trained}: {counts['complete']} trained in full for {results.rungs[-1]} "
        f"epochs, {counts['pruned']} stopped early{_after(results)}, {counts['failed']} "
        f"failed. Networks had at most {limits}. They were compared by "
        f"{compared} on the validation images. All trainings took {duration(seconds)}."
    )


def _after(results: Results) -> str:
    """After how many epochs trials were stopped: ` (after 2 or 6 epochs)`."""
    ends = sorted({trial.epochs for trial in results.trained if trial.state == "pruned"})
    if not ends:
        return ""
    if len(ends) > len(results.rungs):  # by a limit on the time, anywhere
        return f" (after {ends[0]} to {ends[-1]} epochs)"
    return f" (after {' or '.join(map(str, ends))} {'epoch' if ends == [1] else 'epochs'})"


def _finals(results: Results) -> str:
    found = results.finalists()
    if not found:
        return ""
    many = _range([len(f.fresh) for f in found])
    best = count(len(found), "configuration")
    why = "all on the front." if results.cost else "to choose one."
    return f"The finals trained {best} again, each with fresh seeds ({many}), {why}"


@of_today()
def _retraining(record: Mapping[str, Any]) -> str:
    """What was trained again, over how many seeds, and tested on how many images."""
    several, seeds = len(record["configurations"]), [len(c["seeds"]) for c in record["configurations"]]
    each = ("1 seed" if max(seeds) == 1 else f"{_range(seeds)} seeds") + " each" * (several > 1)
    which = count(several, "configuration") if several > 1 else "One configuration"
    return (
        f"{which} {'were' if several > 1 else 'was'} trained again with {each}, on the "
        f"{record['data']['splits']}, and tested on {record['data']['test']:,} images."
    )


def _range(numbers: list[int]) -> str:
    """`3`, or `1 to 3`."""
    return str(min(numbers)) if min(numbers) == max(numbers) else f"{min(numbers)} to {max(numbers)}"


def _made_with(start: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in start["versions"].items() if number)
    hardware = start["hardware"]
    machine = ", ".join([*hardware["gpus"], f"{hardware['cores']} cores ({hardware['cpu']})"])
    commit = f" at commit {start['commit'][:12]}" if start["commit"] else ""
    state = " with local changes" * bool(start["changed"])
    return f"The search ran {hardware['search']} on {machine}{commit}{state}, with {versions}."
