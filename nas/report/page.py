"""The report: one HTML file that needs no network."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path

import optuna

from nas.files import write_text
from nas.report.document import document
from nas.report.sections import Section, sections
from nas.report.table import cells, headings
from nas.results import Search, read
from nas.words import count, describe_data, duration, objective_name, si, value


def write_report(study: optuna.Study, path: Path) -> Path:
    """Write the report of `study` to `path`, whole or not at all. ValueError for a study that nas.run did not make."""
    text = page(read(study), path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return path


def page(search: Search, path: Path) -> str:
    drawn = sections(search)
    body = "\n".join([
        header(search),
        best_trials(search, path),
        *(_section(s) for s in drawn),
        failures(search),
    ])  # fmt: skip
    figures = {s.key: s.figure for s in drawn if s.figure is not None}
    return document(f"{search.name}: architecture search", body, figures)


def header(search: Search) -> str:
    spec, counts, best = search.spec, search.counts(), search.ranked()[:1]
    trained = sum(t.epochs for t in search.trials)
    seconds = sum(t.seconds or 0.0 for t in search.trials)
    states = ", ".join(f"{n} {state}" for state, n in counts.items() if n or state != "open")
    goal = "maximise" if search.maximize else "minimise"
    limits = f"at most {si(spec.get('max_parameters'))} parameters and {si(spec.get('max_macs'))} MACs"
    skipped = f"; {count(search.skipped, 'configuration')} above the limits not trained and not counted"
    skipped = skipped if search.skipped else ""
    found = "no trial has reached the full budget yet"
    if best:
        found = f"<b>{value(best[0].value)}</b>, trial {best[0].number}: {escape(best[0].description)}"
    facts = {
        "Data": escape(describe_data(spec["data"])),
        "Task": escape(f"{spec['task']}; {goal} {objective_name(search.objective)} on the validation split"),
        "Budget": f"{search.rungs[-1]} epochs in full; rungs at {', '.join(map(str, search.rungs))}; {limits}",
        "Trials": f"{states}{skipped}",
        "Spent": f"{count(trained, 'epoch')}, {duration(seconds)} of training",
        "Best": found,
    }
    rows = "".join(f"<div><dt>{name}</dt><dd>{fact}</dd></div>" for name, fact in facts.items())
    return f"<header><p class=name>{escape(search.name)}</p><h1>{escape(search.question)}</h1><dl>{rows}</dl></header>"


def best_trials(search: Search, path: Path, k: int = 10) -> str:
    best = search.ranked()[:k]
    if not best:
        return ""
    table = _table(headings(search), [cells(t) for t in best], words={2})
    complete = len(search.ranked())
    first = f", the first {k} shown" if complete > k else ""
    config = json.dumps(best[0].config, indent=1)
    return f"""<section id="best"><h2>Best trials</h2>
<p class=caption>Trials trained in full ({complete}{first}), by their last epoch on the validation split. The best of
many is flattered by having been chosen: retraining with several seeds and reading the test split once gives the figures
to quote.</p>
{table}
<pre class=command>{escape(retrain_command(search, path))}</pre>
<details><summary>Configuration of trial {best[0].number}</summary><pre>{escape(config)}</pre></details></section>"""


def retrain_command(search: Search, path: Path) -> str:
    """For the study in the folder of `path`, `runs/<name>/report.html`."""
    folder = path.absolute().parent
    words = ["python", "-m", "nas.retrain", "--study", search.name]
    if folder.parent != Path("runs").absolute():
        words += ["--runs", str(folder.parent)]
    if folder.name != search.name:
        words += ["--name", folder.name]
    return shlex.join([*words, "--top-k", "3", "--seeds", "3"])


def failures(search: Search) -> str:
    failed = [t for t in search.trials if t.state == "failed"]
    if not failed:
        return ""
    rows = [[str(t.number), str(t.epochs), t.error or "no reason recorded", t.description or "–"] for t in failed]
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
