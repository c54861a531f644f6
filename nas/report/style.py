"""The look of the pages and of their figures, and the script that draws these."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import plotly.graph_objects as go

from trainers.plain import plain

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #fdfdfc; --box: #f3f5f7; }
:root { --shade: #1c243030; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #dde3ea; --soft: #97a3b2; --line: #323b47; --paper: #14181e; --box: #1d232b; --shade: #dde3ea30; }
}
:root.printed { color-scheme: light; --ink: #1c2430; --soft: #5b6675; --line: #dfe4ea; --paper: #fff; --box: #f3f5f7; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.25rem 5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; font-weight: 600; margin: 0 0 1.2rem; max-width: 44rem; text-wrap: balance; }
h2 { font-size: 1.15rem; font-weight: 600; margin: 0 0 .35rem; }
.name { margin: 0 0 .3rem; color: var(--soft); font: .85rem ui-monospace, monospace; }
.verdict { font-size: 1.08rem; max-width: 46rem; margin: 0 0 1.5rem; }
.answer { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; align-items: start; margin-bottom: 1.5rem; }
.answer dl { flex: 1 1 20rem; }
.architecture { max-width: 100%; height: auto; }
.caption { color: var(--soft); margin: 0 0 .9rem; max-width: 46rem; font-size: .92rem; }
section { margin-top: 3rem; }
dl { margin: 0; border-top: 1px solid var(--line); }
dl div { display: grid; grid-template-columns: 6rem 1fr; gap: 1rem; padding: .45rem 0; }
dl div { border-bottom: 1px solid var(--line); }
dt { color: var(--soft); overflow-wrap: anywhere; }
dd { margin: 0; overflow-wrap: anywhere; }
.words-used dl div { grid-template-columns: 15rem 1fr; }
figure { margin: 0; }
.plot { width: 100%; }
.save { margin: .1rem 0 0; text-align: right; }
button { font: .78rem system-ui, sans-serif; color: var(--soft); background: none; cursor: pointer; }
button { border: 1px solid var(--line); border-radius: 4px; padding: .1rem .5rem; margin-left: .4rem; }
.scroll { overflow: auto; max-height: 32rem; background:
  linear-gradient(to right, var(--paper) 40%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 40%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / .9rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / .9rem 100% no-repeat scroll; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .4rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { padding-left: 0; }
.words { text-align: left; white-space: normal; min-width: 15rem; }
pre { background: var(--box); border-radius: 6px; padding: .7rem .9rem; overflow: auto; }
pre { font: .84rem/1.45 ui-monospace, monospace; }
.command { margin: 1rem 0 .8rem; }
summary { cursor: pointer; color: var(--soft); font-size: .92rem; }
@media (max-width: 40rem) {
  main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.35rem; }
  dl div { grid-template-columns: 4.2rem 1fr; gap: .6rem; }
  .words-used dl div { grid-template-columns: 1fr; gap: 0; }
  .words { min-width: 7.5rem; }
}
@media print {
  main { max-width: none; padding: 0; }
  .save { display: none; }
  figure, tr, li, dl div, .caption, .architecture { break-inside: avoid; }
  h2, .caption { break-after: avoid; }
  .scroll { overflow: visible; max-height: none; background: none; }
  table { font-size: .66rem; }
  th, td { padding: .2rem .3rem; }
  th { white-space: normal; }
  .words { min-width: 0; }
  pre { white-space: pre-wrap; }
}
"""

# It unpacks plotly, with what browsers have had since 2023. It reads the colours from the page, and again when the
# reader's theme changes or the page is printed, on paper of PRINTED pixels. A saved figure is dark on white. Touching a
# figure scrolls the page.
SCRIPT = """
const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), c => c.charCodeAt(0));
const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
const plotly = document.createElement("script");
plotly.textContent = await new Response(unpacked).text();
document.head.append(plotly);
const figures = JSON.parse(document.getElementById("figures").textContent);
const touch = matchMedia("(pointer: coarse)").matches, PRINTED = 690;
function dressed(layout, colour) {
  const shown = {...layout, font: {...layout.font, color: colour("--ink"), family: "system-ui, sans-serif"},
                 hoverlabel: {...layout.hoverlabel, bgcolor: colour("--box"), bordercolor: colour("--line"),
                              font: {color: colour("--ink")}}};
  for (const axis of ["xaxis", "yaxis"])
    shown[axis] = {...layout[axis], gridcolor: colour("--line"), tickcolor: colour("--line")};
  return shown;
}
const inked = (data, ink) => data.map(t => t.type == "heatmap" ? {...t, textfont: {...t.textfont, color: ink}} : t);
function draw(width) {
  const css = getComputedStyle(document.documentElement);
  const colour = name => css.getPropertyValue(name).trim();
  for (const [id, {data, layout}] of Object.entries(figures)) {
    const size = width ? {width} : {dragmode: touch ? false : "zoom"};
    Plotly.react(id, inked(data, colour("--ink")), {...dressed(layout, colour), ...size},
                 {responsive: !width, displaylogo: false, displayModeBar: false});
  }
}
function save(name, address) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}
async function saved(id, kind) {
  const {data, layout, csv} = figures[id];
  const name = document.title.split(":")[0].trim() + "-" + id;
  if (kind == "CSV") return save(name + ".csv", URL.createObjectURL(new Blob([csv], {type: "text/csv"})));
  const place = document.getElementById(id), light = {"--ink": "#1c2430", "--line": "#dfe4ea", "--box": "#f3f5f7"};
  const plain = {...dressed(layout, n => light[n]), paper_bgcolor: "#fff"};
  const size = {format: "svg", width: place.clientWidth, height: place.clientHeight};
  save(name + ".svg", await Plotly.toImage({data: inked(data, light["--ink"]), layout: plain}, size));
}
for (const button of document.querySelectorAll("button[data-figure]"))
  button.addEventListener("click", () => saved(button.dataset.figure, button.textContent));
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
addEventListener("beforeprint", () => { document.documentElement.classList.add("printed"); draw(PRINTED); });
addEventListener("afterprint", () => { document.documentElement.classList.remove("printed"); draw(); });
"""

SHADES = [[0.0, "rgba(43, 111, 211, .06)"], [1.0, "rgba(43, 111, 211, .6)"]]  # on light and on dark paper
AXIS = {"showline": False, "ticks": "outside", "ticklen": 4, "title": {"standoff": 8}}
MARGIN = {"l": 58, "r": 12, "t": 12, "b": 48}  # pixels


def literal(name: str) -> str:
    """A name that others have given, for plotly, which takes tags and `%{...}` for orders."""
    return escape(plain(name)).replace("%{", "&#37;{")


def empty_figure(
    x: str, y: str, *, height: int = 420, margin: Mapping[str, int] = MARGIN, axis: Mapping[str, Any] = AXIS
) -> go.Figure:
    """A figure with titled axes and no colours of its own: the page, light or dark, gives ink, grid and background.

    The titles `x` and `y` are shown as they are.
    """
    figure = go.Figure()
    figure.update_layout(
        template="none", height=height, margin=margin, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)",
        font={"size": 12}, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "xanchor": "left"},
        hoverlabel={"align": "left"}, hovermode="closest",
    )  # fmt: skip
    figure.update_xaxes(zeroline=False, **axis, title_text=literal(x))
    figure.update_yaxes(zeroline=False, **axis, title_text=literal(y))
    return figure
