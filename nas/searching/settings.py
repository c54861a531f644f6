"""`--set space.width=32..192:32`: bounds and budgets of a study, replaced by name."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from optuna.distributions import BaseDistribution

from nas.errors import UserError
from nas.searching.drafts import Draft, origin, value_at
from search_space import Hybrid, Range
from search_space.bounds import values
from search_space.errors import ArchitectureError
from studies import StudyError, StudySpec
from studies.train_space import AUGMENTED
from trainers.config import NO_AUGMENTATION, Augmentation

PARTS = ("space", "training")
OPTIONS = (  # fields of a study that mean the same as an option of this name, which may change other fields as well
    "trials", "epochs", "min_epochs", "task", "objective", "sampler", "scheduler", "seed", "seeds", "finals", "folds",
    "max_parameters", "max_macs", "max_seconds",
)  # fmt: skip


def parse(text: str) -> tuple[str, Any]:
    """`training.learning_rate=1e-4..1e-2:log` -> its name and Range(1e-4, 1e-2, log=True).

    A value is a range `low..high`, with `:step` or `:log`; choices separated by commas; or one value.
    """
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise UserError(f"--set {text!r}: expected NAME=VALUE, such as space.width=32,64,128 or min_epochs=6")
    low, dots, rest = value.partition("..")
    if not dots:
        return name, tuple(_literal(part) for part in value.split(","))
    high, _, how = rest.partition(":")
    numbers = [_literal(low), _literal(high), _literal(how or "None")]
    if not all(isinstance(number, int | float) for number in numbers[:2]):
        raise UserError(f"--set {text!r}: expected numbers on both sides of '..'")
    step = None if how in ("", "log") else numbers[2]
    return name, Range(numbers[0], numbers[1], step, log=how == "log")


def parse_all(texts: Sequence[str]) -> dict[str, Any]:
    """Several of them. UserError if two have one name."""
    found: dict[str, Any] = {}
    for name, value in map(parse, texts):
        if name in found:
            raise UserError(f"--set {name} is there twice: leave one out; choices are separated by commas")
        found[name] = value
    return found


def split_off_options(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those settings that mean the same as an option, `--set epochs=6`, with their values as it has them; the rest."""
    if not isinstance(settings, Mapping) or not all(isinstance(name, str) for name in settings):
        raise UserError(f"settings is {settings!r}; expected values by name, such as {{'min_epochs': 6}}")
    options = {name: value for name, value in settings.items() if name in OPTIONS}
    if isinstance(options.get("objective"), tuple):  # "auc,macs"
        options["objective"] = ",".join(map(str, options["objective"]))
    rest = {name: value for name, value in settings.items() if name not in OPTIONS}
    return {name: _single(name, value) for name, value in options.items()}, rest


def apply(spec: StudySpec, settings: Mapping[str, Any]) -> StudySpec:
    """Replace bounds of the space and the training (`space.…`, `training.…`), and other fields of the study.

    Given trials that do not fit the new bounds are left out. UserError for an unknown name or a value that does not
    suit it.
    """
    changes: dict[str, dict[str, Any]] = {"": {}, **{part: {} for part in PARTS}}
    for name, value in settings.items():
        part, _, field = name.rpartition(".")
        if part not in changes:
            raise UserError(f"cannot set {name!r}: expected space.…, training.… or a field of the study")
        owner = getattr(spec, part) if part else spec
        fixed = () if part else (*PARTS, "name", "data", "first", "baselines")
        known = [f.name for f in fields(owner) if f.name not in fixed]
        if field not in known:
            raise UserError(f"cannot set {name!r}: expected one of: {', '.join(known)}")
        if name == "training.policies":
            changes[part][field] = _policies(spec, value)
        else:
            bound = part and isinstance(getattr(owner, field), tuple | Range | None)
            changes[part][field] = value if bound else _single(name, value)
    _refuse_ineffective(spec, changes)
    try:
        parts = {part: replace(getattr(spec, part), **changes[part]) for part in PARTS if changes[part]}
        bare = replace(spec, **changes[""], **parts, first=())
    except (ArchitectureError, StudyError, TypeError) as error:
        raise UserError(f"--set {', '.join(settings)}: {error}") from error
    fitted = (_fitted(spec, bare, given) for given in spec.first)
    first: list[Mapping[str, Any]] = []
    for given in fitted:
        if given is not None and given not in first:  # two may have become one
            first.append(given)
    return replace(bare, first=tuple(first))


def _augmentations(policies: Mapping[str, Augmentation]) -> dict[str, Augmentation]:
    return {"none": NO_AUGMENTATION, **policies}


def _policies(spec: StudySpec, names: Any) -> Mapping[str, Augmentation]:
    """The study's augmentations of these names; `none` is one in any study."""
    known = _augmentations(spec.training.policies)
    names = names if isinstance(names, tuple) else (names,)
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"cannot set training.policies to {unknown[0]!r}: expected names among {', '.join(known)}")
    return {name: known[name] for name in names}


def _refuse_ineffective(spec: StudySpec, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """UserError for a bound that another one replaces."""
    space, training = changes["space"], changes["training"]
    policies = training.get("policies", spec.training.policies)
    if policies and (strengths := [field for field in training if field in AUGMENTED]):
        raise UserError(
            f"cannot set training.{strengths[0]}: {spec.name} chooses among whole augmentations; choose with "
            f"training.policies, among {', '.join(_augmentations(policies))}"
        )
    if "patch" in space and space.get("grid", getattr(spec.space, "grid", None)) is not None:
        raise UserError("cannot set space.patch: space.grid, the tokens a side, decides it; set that")
    if "rewind" in training and values(training.get("sparsity", spec.training.sparsity)) == (0.0,):
        raise UserError("cannot set training.rewind: nothing is pruned; set training.sparsity as well")
    optimisers = values(training.get("optimiser", spec.training.optimiser))
    for field in training:
        owner = "sgd" if field == "momentum" else field.partition("_")[0]
        if owner in ("sgd", "lion") and owner not in optimisers:
            raise UserError(f"cannot set training.{field}: only the optimiser {owner} has it, which is not searched")


def _single(name: str, value: Any) -> Any:
    if isinstance(value, Range) or (isinstance(value, tuple) and len(value) != 1):
        raise UserError(f"cannot set {name} to {value!r}: expected one value")
    return value[0] if isinstance(value, tuple) else value


def _fitted(spec: StudySpec, bare: StudySpec, given: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A given trial of `spec` by the names of `bare`; None if that cannot have it.

    A parameter with fewer choices, or again with all, has another name (`stages.0.mixer.d4`, `stages.0.mixer`), and one
    with a single choice has none. The configuration must then be the same, but for an augmentation or a front end that
    `bare` lacks: the trial then has any of those that are left.
    """
    policies = bare.training.policies
    if policies and given.get("augmentation", next(iter(policies))) not in policies:
        given = {name: value for name, value in given.items() if name != "augmentation"}
    front_ends = values(getattr(bare.space, "front_end", ()))
    if front_ends and given.get("front_end", front_ends[0]) not in front_ends:
        given = {name: value for name, value in given.items() if name != "front_end"}
    if _holds(bare, given):
        return given
    before = Draft(_lowest, given)
    at_first = spec.sample(before)
    after = Draft(_lowest, {**before.params, **given})
    now = bare.sample(after)
    network, fitted = at_first.architecture, now.architecture
    if "front_end" not in given and isinstance(network, Hybrid) and isinstance(fitted, Hybrid):
        network = replace(network, front_end=fitted.front_end)
    same = network == fitted
    free: dict[str, Any] = {} if "augmentation" in given else {"augmentation": now.training.augmentation}
    same &= replace(at_first.training, epochs=now.training.epochs, **free) == now.training
    asked = {name: value for name, value in after.params.items() if origin(name, given) is not None}
    return asked if same and _holds(bare, asked) else None


def _holds(spec: StudySpec, given: Mapping[str, Any]) -> bool:
    try:
        replace(spec, first=(given,))
    except StudyError:
        return False
    return True


def _lowest(_: str, distribution: BaseDistribution) -> Any:
    return value_at(distribution, 0.0)


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
