"""The console of every command: names are shown as they are."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from trainers.plain import plain


class Terminal(Console):
    """Takes no text for markup (`[red]`), an emoji (`:smile:`) or an order to the terminal (an escape sequence).

    Classes, files and studies have names that others have given. In a notebook it prints plain text.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, force_jupyter=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text), **options)
