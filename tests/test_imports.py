"""Imports point one way, so that a network, a training or a study can be read without what runs it."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "studies" / "notebooks"  # written for readers, imported by nothing
OURS = {"search_space", "trainers", "studies", "nas"}
MAY_IMPORT = {
    "search_space": set(),
    "trainers": set(),
    "studies": {"search_space", "trainers"},
    "nas": {"search_space", "trainers", "studies"},
}
ONLY_NAS = {"ray", "optuna", "plotly", "rich"}
RICH_FOR_PROGRESS = {"trainers/data/progress.py"}


def imported(path):
    """Top-level packages named by any import statement of a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", sorted(OURS))
def test_imports_point_one_way(package):
    files = sorted(path for path in (ROOT / package).rglob("*.py") if path.parent != NOTEBOOKS)
    assert files
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        names = set(imported(path))
        assert not (names & OURS) - MAY_IMPORT[package] - {package}, name
        if package != "nas":
            assert not (names & ONLY_NAS) - ({"rich"} if name in RICH_FOR_PROGRESS else set()), name


def test_an_architecture_is_data_without_torch():
    for name in ("architecture.py", "errors.py"):
        names = set(imported(ROOT / "search_space" / name))
        assert names <= {*sys.stdlib_module_names, "search_space"}
    ours = re.findall(r"^from (search_space\S*)", (ROOT / "search_space" / "architecture.py").read_text(), re.MULTILINE)
    assert ours == ["search_space.errors"]


@pytest.mark.parametrize("path", sorted((ROOT / "nas").rglob("*.py")), ids=lambda p: p.name)
def test_ray_is_met_only_by_the_pool_of_workers(path):
    if "ray" in set(imported(path)):
        assert path.name in {"pool.py", "dispatcher.py", "worker.py", "ray_session.py"}


def test_the_engine_knows_neither_ray_nor_torch():
    for name in ("engine", "finals", "histories", "jobs", "ledger", "losses", "simulate", "work"):
        assert not set(imported(ROOT / "nas" / "searching" / f"{name}.py")) & {"ray", "torch"}, name
