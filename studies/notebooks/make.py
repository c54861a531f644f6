"""Write and execute the notebooks of this folder: python studies/notebooks/make.py [NAME ...]

Each is a script NAME.py, in which `# %%` begins a cell of code, `# %% [markdown]` one of text, and `# %magic` is one of
IPython's. It is executed in runs/NAME here, and becomes NAME.ipynb. If it fails or is interrupted, that folder stays,
and the same command resumes its searches; otherwise the folder goes.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from nas.files import write_text
from nas.paper.notebook import Cell, executed

HERE = Path(__file__).parent
NAMES = ("start_here", "existing", "techniques")


def cells(script: str, budget: Mapping[str, int] | None = None) -> list[Cell]:
    """The cells of a script, with other values for the names in `budget`, each of which it sets once."""
    for name, value in (budget or {}).items():
        script, found = re.subn(rf"^{name} = \d+", f"{name} = {value}", script, flags=re.MULTILINE)
        assert found == 1, name
    made = []
    for part in re.split(r"^# %%", script, flags=re.MULTILINE)[1:]:
        kind, _, source = part.partition("\n")
        if kind.strip() == "[markdown]":
            made.append(Cell(re.sub(r"^# ?", "", source.strip(), flags=re.MULTILINE), code=False))
        else:
            made.append(Cell(re.sub(r"^# (?=%)", "", source.strip(), flags=re.MULTILINE)))
    return made


def make(name: str, folder: Path, budget: Mapping[str, int] | None = None) -> str:
    """The contents of the notebook, executed in this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return executed(cells((HERE / f"{name}.py").read_text(), budget), folder)


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        place = HERE / "runs" / name
        write_text(HERE / f"{name}.ipynb", make(name, place))
        shutil.rmtree(place)
        print(HERE / f"{name}.ipynb")
