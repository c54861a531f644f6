"""Text of strangers, such as the names of classes and files, for a terminal or a log."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """Write control and other invisible characters as escapes (`\\x1b`), except line ends: a name gives no orders."""
    if text.isprintable():
        return text
    return "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
