"""A trial as plain data, whatever its state."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from nas.samplers import GIVEN
from nas.searching.jobs import REPEATS
from nas.searching.optuna_private import attributes_of
from nas.words import describe_architecture, numbered

ENDED = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
STATES = ("complete", "pruned", "failed", "paused", "running", "skipped")


@dataclass(frozen=True)
class Trial:
    """One configuration of a study. Compare values only at rungs, the epochs that all trials share."""

    number: int
    state: str
    """complete: trained to the full budget; pruned: stopped at a rung, or because a full training would take too long;
    failed; paused: waiting at a rung to be promoted or pruned; running: being trained, or interrupted; skipped: above
    the study's limits and never trained."""
    curve: Mapping[int, float]  # epoch -> objective, finite values only
    rung: int  # the highest rung with a value; 0: none
    params: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]
    config: Mapping[str, Any]  # `studies.Configuration` as JSON data
    given: bool = False  # by the study or a warm start, instead of sampled
    repeats: int | None = None  # in the finals: the trial whose configuration this one trains with a fresh seed
    parameters: int | None = None
    macs: int | None = None  # multiply-accumulates for one image
    seconds: float | None = None  # of training
    peak_memory_mb: float | None = None
    error: str = ""  # why it failed, or the limits that it exceeds
    blamed: bool = False  # whether its configuration is taken to be the reason why it ended
    turned: float | None = None  # the objective at full budget on the validation images turned by 90 degrees
    history: tuple[Mapping[str, float], ...] = ()  # per recorded epoch: its number as "epoch", and every metric

    @property
    def value(self) -> float:
        """The objective at `rung`; nan if it reached none."""
        return self.curve.get(self.rung, math.nan)

    @property
    def label(self) -> str:
        """`7`, or `7 (given)` if the configuration was given."""
        return numbered(self.number, self.given)

    @property
    def epochs(self) -> int:
        return max(self.curve, default=0)

    @property
    def architecture(self) -> str:
        """Stages as `conv×2(64) → ↓attention×3(96)`: mixer, blocks, channels; ↓ means that it halves the grid first."""
        return describe_architecture(self.config.get("architecture", {}))

    @property
    def without_seed(self) -> str:
        """The configuration but for its seed, as text: equal for trials of one configuration."""
        return json.dumps({name: value for name, value in self.config.items() if name != "seed"}, sort_keys=True)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Every metric of the last recorded epoch."""
        return self.history[-1] if self.history else {}


def trial_of(trial: FrozenTrial, rungs: Sequence[int], objective: str) -> Trial:
    """Convert a stored trial to plain data."""
    recorded = attributes_of(trial)
    history = tuple(recorded.get("history", ()))
    full = [epoch for epoch in history if epoch["epoch"] == rungs[-1]]
    turned = full[0].get(f"turned_{objective}") if full else None
    curve = {epoch: v for epoch, v in sorted(trial.intermediate_values.items()) if math.isfinite(v)}
    return Trial(
        number=trial.number,
        state=_state(trial, rungs),
        curve=curve,
        rung=max((rung for rung in rungs if rung in curve), default=0),
        params=trial.params,
        distributions=trial.distributions,
        config=recorded.get("config", {}),
        given=bool(recorded.get(GIVEN, False)),
        repeats=recorded.get(REPEATS),
        parameters=recorded.get("parameters"),
        macs=recorded.get("macs"),
        seconds=recorded.get("seconds"),
        peak_memory_mb=recorded.get("peak_memory_mb"),
        error=recorded.get("error", recorded.get("skipped", "")),
        blamed=any(excess > 0 for excess in trial.constraints.values()),
        turned=turned if turned is not None and math.isfinite(turned) else None,
        history=history,
    )


def _state(trial: FrozenTrial, rungs: Sequence[int]) -> str:
    """The state of `Trial`. In the database a paused trial is RUNNING, and a skipped one is PRUNED."""
    if "skipped" in trial.user_attrs:
        return "skipped"
    if trial.state in ENDED:
        return ENDED[trial.state]
    return "paused" if max(trial.intermediate_values, default=0) in rungs else "running"
