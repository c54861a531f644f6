"""The report of a search: one HTML file that needs no network."""

from __future__ import annotations

import json
import shlex
from html import escape
from pathlib import Path

from nas.files import write_text
from nas.report.document import document, header, html_table, plot, section
from nas.report.remarks import remarks
from nas.report.sections import Section, sections
from nas.report.table import cells, headings, reached, worth_retraining
from nas.results import ENDED, Results
from nas.run_folder import RunFolder
from nas.words import beside, count, counterpart, describe_data, duration, objective_name, si


def write_report(results: Results, path: Path) -> Path:
    """Write the report of a study to `path`, whole or not at all."""
    text = page(results, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def page(results: Results, path: Path) -> str:
    drawn = sections(results)
    body = "\n".join([
        summary(results),
        best_trials(results, path),
        *(_section(s) for s in drawn),
        failures(results),
    ])  # fmt: skip
    figures = {s.key: s.figure for s in drawn if s.figure is not None}
    return document(f"{results.name}: architecture search", body, figures)


def summary(results: Results) -> str:
    """The head of the page: what was searched, at what cost, and the best trial."""
    spec, counts = results.spec, results.counts()
    epochs = sum(t.epochs for t in results.trained)
    seconds = sum(t.seconds or 0.0 for t in results.trained)
    states = ", ".join(
        f"{n} {state}" for state, n in counts.items() if state != "skipped" and (n or state in ENDED.values())
    )
    if results.skipped:
        states += f"; {count(results.skipped, 'configuration')} above the limits, neither trained nor counted"
    goal = "maximise" if results.maximize else "minimise"
    limits = f"at most {si(spec.get('max_parameters'))} parameters and {si(spec.get('max_macs'))} MACs"
    rungs = ", ".join(map(str, results.rungs))
    best = "no trial has reached the full budget yet"
    if results.best is not None:
        figure, how = reached(results, results.best)
        best = f"<b>{figure}</b>{how}, trial {results.best.label}: {escape(results.best.architecture)}"
        if other := beside(results.objective, results.mean_metrics(results.best)):
            best += f"; {other}"
    facts = {
        "Data": escape(describe_data(spec["data"])),
        **({"Limit": escape(results.limit)} if results.limit else {}),
        "Task": escape(f"{results.task}; {goal} {objective_name(results.objective)} on the validation split"),
        "Budget": f"{results.rungs[-1]} epochs in full; trials compared after {rungs} epochs (the rungs); {limits}",
        "Trials": states,
        "Spent": f"{count(epochs, 'epoch')}, {duration(seconds)} of training",
        "Best": best,
    }
    if notes := remarks(results):
        facts["Note"] = "<br>".join(map(escape, notes))
    return header(results.name, results.question, facts)


def best_trials(results: Results, path: Path, k: int = 10) -> str:
    best = results.ranked()[:k]
    if not best:
        return ""
    complete = len(results.ranked())
    first = f", the first {k} shown" if complete > k else ""
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
    """The command that retrains the study in the folder of `path`, `runs/<name>/report.html`."""
    words = ["python", "-m", "nas.retrain", *RunFolder(path.absolute().parent).options(results.name)]
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
