"""The report of a search: one HTML file that needs no network."""

from __future__ import annotations

import json
import shlex
from datetime import datetime
from html import escape
from pathlib import Path

from nas.checks import path_of
from nas.errors import UserError
from nas.files import write_text
from nas.report.document import document, header, html_table, listed, plot, section
from nas.report.drawing import drawing
from nas.report.remarks import remarks
from nas.report.sections import Section, sections
from nas.report.table import cells, headings, worth_retraining
from nas.report.verdict import verdict
from nas.results import Results
from nas.run_folder import RunFolder
from nas.trials import ENDED, Trial
from nas.words import (
    COSTS,
    beside,
    count,
    counterpart,
    describe_data,
    describe_preparation,
    describe_steps,
    duration,
    objective_name,
    si,
    stage_mixers,
)
from trainers import metrics

BEST = 10  # trials shown


def write_report(results: Results, path: str | Path) -> Path:
    """Write the report of a study to `path`, whole or not at all."""
    path = path_of("path", path)
    if path.is_dir():
        raise UserError(f"path is {path}, a folder; expected that of a file, such as {path / 'report.html'}")
    text = page(results, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def page(results: Results, path: Path) -> str:
    drawn = sections(results)
    body = "\n".join([
        summary(results),
        words(results),
        best_trials(results, path),
        *(_section(s) for s in drawn),
        failures(results),
    ])  # fmt: skip
    figures = {s.key: s.figure for s in drawn if s.figure is not None}
    return document(f"{results.name}: architecture search", body, figures)


def summary(results: Results) -> str:
    """The head of the page: what was found, the best configuration, what was searched and at what cost."""
    spec, counts = results.spec, results.counts()
    every = (*results.trained, *results.repeats)
    epochs, seconds = sum(t.epochs for t in every), sum(t.seconds or 0.0 for t in every)
    unfinished = f", with {count(counts['running'], 'trial')} running or interrupted" if counts["running"] else ""
    states = ", ".join(
        f"{n} {state}" for state, n in counts.items() if state != "skipped" and (n or state in ENDED.values())
    )
    if results.skipped:
        states += f"; {count(results.skipped, 'configuration')} above the limits, neither trained nor counted"
    goal = f"{'maximise' if results.maximize else 'minimise'} {objective_name(results.objective)}"
    if results.cost:
        goal += f" at every number of {COSTS[results.cost]}"
    limits = f"at most {si(spec.get('max_parameters'))} parameters and {si(spec.get('max_macs'))} MACs"
    if seconds_allowed := spec.get("max_seconds"):
        limits += f", and a full training {seconds_allowed:g} s"
    rungs = ", ".join(map(str, results.rungs))
    facts = {
        "Data": escape(describe_data(spec["data"])),
        **({"Limit": escape(results.limit)} if results.limit else {}),
        "Task": escape(f"{results.task}; {goal} on the validation split"),
        "Budget": f"{results.rungs[-1]} epochs in full; trials compared after {rungs} epochs (the rungs); {limits}",
        "Trials": states,
        "Spent": f"{count(epochs, 'epoch')}, {duration(seconds)} of training",
        "Written": f"{datetime.now():%Y-%m-%d %H:%M}{unfinished}",
    }
    if notes := remarks(results):
        facts["Note"] = "<br>".join(map(escape, notes))
    answer = [] if results.best is None else [winner(results, results.best)]
    return header(results.name, results.question, facts, verdict(results), *answer)


def winner(results: Results, best: Trial) -> str:
    """The drawing of the best configuration, and how it was trained."""
    architecture, training = best.config.get("architecture", {}), best.config.get("training", {})
    facts = {"Trial": f"{best.label}: {escape(best.architecture)}"}
    if other := beside(results.objective, results.mean_metrics(best)):
        facts["Turned" if "symmetries" in other else "Upright"] = other
    if norm := architecture.get("norm_layer"):
        facts["Norm"] = escape(f"{norm} normalisation, {architecture.get('norm', 'pre')}")
    if "learning_rate" in training:
        facts["Training"], facts["Images"] = escape(describe_steps(training)), escape(describe_preparation(training))
    cost = f"{si(best.parameters)} parameters, {si(best.macs)} MACs"
    facts["Cost"] = f"{cost}, {duration(best.seconds)} of training" if best.seconds is not None else cost
    picture = drawing(architecture, results.shape) if architecture else ""
    return f"<div class=answer>{picture}{listed(facts)}</div>"


def words(results: Results) -> str:
    """What the short forms on this page mean."""
    rungs = results.rungs
    networks = [t.config.get("architecture") or {} for t in results.trained]
    meanings = {
        "conv×1(32) → ↓attention×2(64)": "one block that mixes by convolution, with 32 channels; then ↓ the grid of "
        "tokens is halved, and two blocks mix by attention, with 64 channels",
        **({"conv+attention×3(64)": "three blocks of 64 channels; the first mixes by convolution, the others by "
            "attention"}
           if any(len(stage_mixers(s)) > 1 for network in networks for s in network.get("stages", ())) else {}),
        **({"d4: conv×1(32)": "a network that gives the same answer for the turned and mirrored image, by its weights"}
           if any(network.get("symmetry") == "d4" for network in networks) else {}),
        **({"polar: conv×1(32)": "a network that sees the image unrolled about its middle: a row is a radius, a column "
            "an angle"} if any(network.get("front_end") == "polar" for network in networks) else {}),
        "given": "the configuration was written down by a person (or came from an earlier search), and not found here",
        "rung": f"a number of epochs ({', '.join(map(str, rungs))}) at which trials are compared; only the best go on"
        if len(rungs) > 1 else "a number of epochs at which trials are compared",
        "pruned": "stopped at a rung, since others did better there"
        + ", or since a full training would have taken too long" * bool(results.spec.get("max_seconds")),
        "MACs": "multiply-accumulates: multiplications and additions that a network needs for one image",
        **({"AUC": "the chance that an image of a class scores higher for it than an image of another; 0.5 is chance, "
            "1 perfect"} if metrics.base(results.objective) == "auc" else {}),
    }  # fmt: skip
    rows = listed({term: escape(text) for term, text in meanings.items()})
    return f'<section id="words" class=words-used><h2>Words and signs</h2>{rows}</section>'


def best_trials(results: Results, path: Path) -> str:
    best = results.ranked()[:BEST]
    if not best:
        return ""
    complete = len(results.ranked())
    first = f", the first {BEST} shown" if complete > BEST else ""
    caption = (
        f"Trials trained in full ({complete}{first}), ranked by their last epoch on the validation split. The "
        f"next column ({counterpart(results.objective)[1]}) shows whether a network relies on an axis that all images "
        "share: it then does worse on turned and mirrored images than upright. The best of many looks better than it "
        "is, because it was chosen for its value. For values to quote, retrain with several seeds and read the test "
        "split once, as the command below does."
    )
    winner = results.best or best[0]
    config = json.dumps(winner.config, indent=1)
    return section(
        "Best trials",
        caption,
        html_table(headings(results), [cells(results, t) for t in best], words={3}),
        f"<pre class=command>{escape(retrain_command(results, path))}</pre>",
        f"<details><summary>Configuration of trial {winner.label}</summary><pre>{escape(config)}</pre></details>",
        attributes='id="best"',
    )


def retrain_command(results: Results, path: Path) -> str:
    """The command that retrains the study, which lies beside its database; without one, in the folder of `path`."""
    words = [
        "python",
        "-m",
        "nas.retrain",
        *RunFolder((results.database or path).absolute().parent).options(results.name),
    ]
    return shlex.join([*words, "--top-k", str(worth_retraining(results)), "--seeds", "3"])


def failures(results: Results) -> str:
    failed = [t for t in results.trained if t.state == "failed"]
    if not failed:
        return ""
    rows = [[t.label, str(t.epochs), t.error or "no reason recorded", t.architecture or "–"] for t in failed]
    table = html_table(["trial", "epochs", "reason", "architecture"], rows, words={2, 3})
    return section("Failed trials", "Why each trial failed.", table, attributes='id="failed"')


def _section(s: Section) -> str:
    drawing = "" if s.figure is None else plot(s.key, s.figure)
    table = "" if s.listing is None else html_table(s.listing.headings, s.listing.rows, words=s.listing.words)
    return section(s.title, s.caption, drawing + table)
