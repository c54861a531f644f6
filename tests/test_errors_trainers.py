"""What a user can mend is a TrainingError, from data to training; importing the package costs nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from trainers import TrainingError, metrics, tasks
from trainers.batch.normalise import Normalisation
from trainers.config import Augmentation, TrainConfig
from trainers.data import Folder, Function, Simulated, from_arrays, load, source_from_dict
from trainers.data.simulated.population import Population

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: TrainConfig(learning_rate=0),
        lambda: TrainConfig.from_dict({"temperature": 1}),
        lambda: Augmentation(rotation=-1),
        lambda: Normalisation("whiten"),
        lambda: tasks.of_name("nosuch"),
        lambda: metrics.direction("bias"),
        lambda: Simulated("nosuch"),
        lambda: Population(snr=0),
        lambda: load(Folder("/nowhere")),
        lambda: Function("nowhere"),
        lambda: from_arrays(None),
        lambda: source_from_dict({"kind": "tape"}),
    ],
)
def test_what_a_user_can_mend_is_one_kind_of_error(wrong):
    with pytest.raises(TrainingError) as error:
        wrong()
    assert isinstance(error.value, ValueError), "whoever caught that before still does"


def test_no_other_value_error_is_raised_on_purpose():
    for path in sorted((ROOT / "trainers").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Raise) and node.exc is not None:
                raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
                assert not (isinstance(raised, ast.Name) and raised.id == "ValueError"), f"{path}:{node.lineno}"


@pytest.mark.parametrize("module", ["trainers", "trainers.errors", "trainers.config", "trainers.user_module"])
def test_importing_it_imports_no_torch(module):
    check = f"import {module}, sys; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], cwd=ROOT, check=True)
