"""The parts of a page in HTML, and the file that holds them. It needs no network."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from nas.report.numbers import numbers
from nas.report.style import SCRIPT, STYLE

MOST_ROWS = 200  # of a table


def document(title: str, body: str, figures: Mapping[str, go.Figure], *, style: str = "") -> str:
    """Return the whole file. The plot of each key in `body` shows the figure of that key; `style` is extra CSS."""
    data = {key: {**json.loads(figure.to_json()), "csv": numbers(figure)} for key, figure in figures.items()}
    script = json.dumps(data).replace("<", "\\u003c")  # no tag or comment in the data may change how the page is read
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}{style}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/gzip" id="plotly">{packed_plotly()}</script>
<script type="application/json" id="figures">{script}</script>
<script type="module">{SCRIPT}</script>
</body>
</html>
"""


@cache
def packed_plotly() -> str:
    """plotly.js, gzipped in base64: 2 MB of a page instead of 4.8."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


def header(name: str, title: str, facts: Mapping[str, str], verdict: Sequence[str] = (), *answer: str) -> str:
    """The head of a page: the sentences of its `verdict` in plain text, the `answer` and the `facts` in HTML."""
    said = f"<p class=verdict>{escape(' '.join(verdict))}</p>" if verdict else ""
    parts = [f"<p class=name>{escape(name)}</p><h1>{escape(title)}</h1>", said, *answer, listed(facts)]
    return f"<header>{''.join(parts)}</header>"


def listed(facts: Mapping[str, str]) -> str:
    """Facts by name, in HTML."""
    rows = "".join(f"<div><dt>{escape(fact)}</dt><dd>{text}</dd></div>" for fact, text in facts.items())
    return f"<dl>{rows}</dl>"


def section(title: str, caption: str, *content: str, attributes: str = "") -> str:
    """A title and a caption in plain text, above plots and tables in HTML."""
    text = f"<h2>{escape(title)}</h2><p class=caption>{escape(caption)}</p>" + "\n".join(content)
    return f"<section{' ' * bool(attributes)}{attributes}>{text}</section>"


def plot(key: str, figure: go.Figure) -> str:
    """The place of a figure, and the buttons that save it and its numbers."""
    name = escape(key, quote=True)
    buttons = "".join(f'<button data-figure="{name}">{kind}</button>' for kind in ("SVG", "CSV"))
    return (
        f'<figure><div class=plot id="{name}" style="height:{figure.layout.height}px"></div>'
        f"<p class=save>{buttons}</p></figure>"
    )


def picture(caption: str, uri: str, width: str = "100%") -> str:
    """A picture below its caption in plain text; `width` is of CSS."""
    text = escape(caption, quote=True)
    return f'<figure><figcaption>{text}</figcaption><img alt="{text}" style="width:{width}" src="{uri}"></figure>'


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], words: Collection[int] = ()) -> str:
    """A table of plain text. The columns in `words` are aligned left and may wrap; the others hold numbers.

    Of many rows, the first are shown.
    """
    if (total := len(rows)) > MOST_ROWS:
        rows = rows[:MOST_ROWS]
    kind = [" class=words" if i in words else "" for i in range(len(head))]
    top = "".join(f"<th{k}>{escape(h)}</th>" for k, h in zip(kind, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{escape(c)}</td>" for k, c in zip(kind, row, strict=True)) + "</tr>" for row in rows
    )
    more = f"<p class=caption>The first {len(rows)} of {total:,} rows. nas.load_results(...) has all.</p>"
    table = f"<div class=scroll><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    return table + more * (total > len(rows))
