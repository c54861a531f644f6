"""The page of an audit: what was found and what to do, and how the images of each class look."""

from __future__ import annotations

from html import escape

from rich import box
from rich.table import Table

from nas.auditing import findings
from nas.report.audit_pictures import intensities, mean_images, sheet
from nas.report.document import document, header, html_table, picture, plot, section
from nas.words import count
from trainers.audit import Audit
from trainers.data import Dataset

HEAD = ("check", "result", "what to do")
MOST = 12  # classes of which pictures are shown
STYLE = """
img { width: 100%; image-rendering: pixelated; display: block; border-radius: 4px; }
figure { margin: 0 0 1rem; }
figcaption { color: var(--soft); font-size: .88rem; margin-bottom: .3rem; overflow-wrap: anywhere; }
.means { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 1rem; }
"""


def table(found: Audit) -> Table:
    """The table for the terminal, one finding a row."""
    t = Table(*HEAD, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for finding in findings(found):
        t.add_row(finding.check, finding.result, finding.advice or "–")
    return t


def page(found: Audit, data: Dataset, where: str) -> str:
    """The whole page. `where` the images come from is its name."""
    each = findings(found)
    to_do = sum(bool(finding.advice) for finding in each)
    said = f"{count(to_do, 'check')} of {len(each)} found something" if to_do else "nothing was found"
    rows = [[finding.check, finding.result, finding.advice or "–"] for finding in each]
    shown = range(min(len(data.classes), MOST))
    some = f" of the first {MOST} of {len(data.classes)} classes" if len(data.classes) > MOST else " of each class"
    figure = intensities(data, shown)
    sheets = [picture(f"{data.classes[k]}", uri) for k in shown if (uri := sheet(data, k))]
    means = [picture(data.classes[k], uri) for k, uri in zip(shown, mean_images(data, shown), strict=True) if uri]
    body = "\n".join([
        header(where, f"Audit of {data.name}: {said}", {"Data": escape(found.data)}),
        section(
            "What was found, and what to do",
            "Shortcuts are fitted to training images and measured on validation images: an AUC of 0.50 is chance. "
            "A check says something only if it exceeds its threshold and what chance gives with so few images.",
            html_table(HEAD, rows, words={0, 1, 2}),
        ),
        section(
            "Images",
            f"Training images{some}, drawn at random, each scaled to its own 0.5 to 99.5 percentiles.",
            *sheets,
        ),
        section(
            "Mean images",
            f"The mean of the training images{some}, all on one scale. Structure that only one class has is what a "
            "network will use first; an elongated mean is a preferred axis.",
            f"<div class=means>{''.join(means)}</div>",
        ),
        section(
            "Intensities",
            f"How the pixels{some} are distributed, as stored, on a logarithmic scale. Classes that differ here can be "
            "distinguished without looking at shapes.",
            plot("intensities", figure),
        ),
    ])  # fmt: skip
    return document(f"Audit of {data.name}", body, {"intensities": figure}, style=STYLE)
