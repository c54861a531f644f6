"""The report: one HTML file that needs no network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

from nas.files import write_text
from nas.report.document import document
from nas.report.sections import Section, sections
from nas.report.table import cells, headings
from nas.results import ENDED, Results
from nas.run_folder import RunFolder
from nas.words import count, describe_data, duration, objective_name, si, value


def write_report(results: Results, path: Path) -> Path:
    """Write the report of a study to `path`, whole or not at all."""
    text = page(results, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def page(results: Results, path: Path) -> str:
    drawn = sections(results)
    body = "\n".join([
        header(results),
        best_trials(results, path),
        *(_section(s) for s in drawn),
        failures(results),
    ])  # fmt: skip
    figures = {s.key: s.figure for s in drawn if s.figure is not None}
    return document(f"{results.name}: architecture search", body, figures)


def header(results: Results) -> str:
    spec, counts, best = results.spec, results.counts(), results.ranked()[:1]
    trained = sum(t.epochs for t in results.trained)
    seconds = sum(t.seconds or 0.0 for t in results.trained)
    states = ", ".join(
        f"{n} {state}" for state, n in counts.items() if state != "skipped" and (n or state in ENDED.values())
    )
    goal = "maximise" if results.maximize else "minimise"
    limits = f"at most {si(spec.get('max_parameters'))} parameters and {si(spec.get('max_macs'))} MACs"
    skipped = f"; {count(results.skipped, 'configuration')} above the limits not trained and not counted"
    skipped = skipped if results.skipped else ""
    found = "no trial has reached the full budget yet"
    if best:
        found = f"<b>{value(best[0].value)}</b>, trial {best[0].number}: {escape(best[0].architecture)}"
    facts = {
        "Data": escape(describe_data(spec["data"])),
        "Task": escape(f"{spec['task']}; {goal} {objective_name(results.objective)} on the validation split"),
        "Budget": f"{results.rungs[-1]} epochs in full; rungs at {', '.join(map(str, results.rungs))}; {limits}",
        "Trials": f"{states}{skipped}",
        "Spent": f"{count(trained, 'epoch')}, {duration(seconds)} of training",
        "Best": found,
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items())
    return (
        f"<header><p class=name>{escape(results.name)}</p><h1>{escape(results.question)}</h1><dl>{rows}</dl></header>"
    )


def best_trials(results: Results, path: Path, k: int = 10) -> str:
    best = results.ranked()[:k]
    if not best:
        return ""
    table = _table(headings(results), [cells(t) for t in best], words={2})
    complete = len(results.ranked())
    first = f", the first {k} shown" if complete > k else ""
    config = json.dumps(best[0].config, indent=1)
    return f"""<section id="best"><h2>Best trials</h2>
<p class=caption>Trials trained in full ({complete}{first}), by their last epoch on the validation split. The best of
many is flattered by having been chosen: retraining with several seeds and reading the test split once gives the figures
to quote.</p>
{table}
<pre class=command>{escape(retrain_command(results, path))}</pre>
<details><summary>Configuration of trial {best[0].number}</summary><pre>{escape(config)}</pre></details></section>"""


def retrain_command(results: Results, path: Path) -> str:
    """For the study in the folder of `path`, `runs/<name>/report.html`."""
    words = ["python", "-m", "nas.retrain", *RunFolder(path.absolute().parent).options(results.name)]
    return shlex.join([*words, "--top-k", "3", "--seeds", "3"])


def failures(results: Results) -> str:
    failed = [t for t in results.trained if t.state == "failed"]
    if not failed:
        return ""
    rows = [[str(t.number), str(t.epochs), t.error or "no reason recorded", t.architecture or "–"] for t in failed]
    table = _table(["trial", "epochs", "reason", "architecture"], rows, words={2, 3})
    return f'<section id="failed"><h2>Failed trials</h2><p class=caption>Why each trial failed.</p>{table}</section>'


def _section(s: Section) -> str:
    plot = "" if s.figure is None else f'<div class=plot id="{s.key}" style="height:{s.figure.layout.height}px"></div>'
    table = "" if s.listing is None else _table(s.listing.headings, s.listing.rows, words=s.listing.words)
    return f"<section><h2>{escape(s.title)}</h2><p class=caption>{escape(s.caption)}</p>{plot}{table}</section>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int]) -> str:
    kind = [" class=words" if i in words else "" for i in range(len(head))]
    top = "".join(f"<th{k}>{escape(h)}</th>" for k, h in zip(kind, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{escape(c)}</td>" for k, c in zip(kind, row, strict=True)) + "</tr>" for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
