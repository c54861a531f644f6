"""What a release needs: one version wherever it is stated."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def check(version):
    return subprocess.run([sys.executable, ROOT / ".ci" / "version", version], capture_output=True, text=True)


def test_the_version_is_the_same_wherever_it_is_stated_and_another_one_is_refused():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert check(version).stderr.strip() in ("", f"version {version}, but CHANGELOG.md has Unreleased")
    refused = check("9.9.9")
    assert refused.returncode == 1
    assert all(file in refused.stderr for file in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"))
