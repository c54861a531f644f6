"""One HTML file that needs no network: the words, the figures' data, and the script that draws them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from nas.report.style import SCRIPT, STYLE


def document(title: str, body: str, figures: Mapping[str, go.Figure], *, style: str = "") -> str:
    """`figures` are drawn into the elements of `body` that have their keys as id; `style` adds to the pages' own."""
    data = {key: json.loads(figure.to_json()) for key, figure in figures.items()}
    script = json.dumps(data).replace("</", "<\\/")  # nothing in the data may end the script element
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
<script>{get_plotlyjs()}</script>
<script type="application/json" id="figures">{script}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""
