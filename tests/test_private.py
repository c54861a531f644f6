"""What we rely on beyond the public interfaces of Optuna and Ray: a new version that changes it is noticed here."""

import inspect
import os
import pickle
from pathlib import Path

import optuna
import pytest
import ray
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from ray.tune.experiment import Trial

from nas.searching.optuna_private import CONSTRAINT, EditableStorage, contains, models, storage_id
from nas.workers.ray_private import ALIVE, SWITCHES, NotPickled, address_of, closed_to_others, last_error, lost_for_good


def test_optuna_keeps_a_constraint_in_a_system_attribute_of_this_name():
    trial = optuna.create_study().ask()
    trial.set_constraint("macs", 0.5)
    assert trial.storage.get_trial(trial._trial_id).system_attrs[CONSTRAINT + "macs"] == 0.5


def test_a_trial_knows_its_number_in_the_storage():
    storage = InMemoryStorage()
    optuna.create_study(storage=storage, study_name="first").ask()
    study = optuna.create_study(storage=storage, study_name="second")
    study.ask()
    (trial,) = study.get_trials()
    assert trial.number == 0
    assert storage_id(trial) == 1
    assert storage.get_trial(storage_id(trial)).number == 0


@pytest.mark.parametrize(("kind", "refused"), [(InMemoryStorage, True), (EditableStorage, False)])
def test_only_an_editable_storage_changes_a_finished_trial(kind, refused):
    storage = kind()
    study = optuna.create_study(storage=storage)
    study.tell(study.ask(), 0.5)

    def change():
        storage.set_trial_state_values(0, TrialState.PRUNED, [0.1])

    if refused:
        with pytest.raises(UpdateFinishedTrialError):
            change()
    else:
        change()
        assert study.get_trials()[0].state == TrialState.PRUNED


def test_a_distribution_says_what_it_contains():
    rate = optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)
    mixer = optuna.distributions.CategoricalDistribution(("conv", "attention"))
    assert contains(rate, 1e-4)
    assert not contains(rate, 1.0)
    assert not contains(rate, "conv")
    assert contains(mixer, "conv")
    assert not contains(mixer, "window")


def test_the_tables_that_the_storage_writes_are_there():
    """Their rows are compared with Optuna's own in test_storage.py."""
    columns = {
        models.TrialModel: {"trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"},
        models.TrialParamModel: {"trial_id", "param_name", "param_value", "distribution_json"},
        models.TrialValueModel: {"trial_id", "objective", "value", "value_type"},
        models.TrialIntermediateValueModel: {"trial_id", "step", "intermediate_value", "intermediate_value_type"},
        models.TrialUserAttributeModel: {"trial_id", "key", "value_json"},
        models.TrialSystemAttributeModel: {"trial_id", "key", "value_json"},
    }
    for model, names in columns.items():
        assert names <= set(model.__table__.columns.keys())


def test_ray_still_reads_its_switches():
    sources = [
        p for part in ("tune", "air", "train", "_private") for p in (Path(ray.__file__).parent / part).rglob("*.py")
    ]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    for name in SWITCHES:
        if name != "RAY_worker_niceness":  # read by Ray's own binary; see the test in test_retrain.py
            short = (
                name.removeprefix("RAY_").lower() if name not in text else name
            )  # some are made from a config's name
            assert short in text, name


def test_ray_prints_its_news_by_the_function_that_we_replace():
    assert "print_to_stdstream(" in inspect.getsource(ray._private.worker.listen_error_messages)


def test_ray_takes_the_loopback_address_and_our_token(monkeypatch):
    """What they do is tested with a real Ray in test_pool.py."""
    assert "if not ray_constants.ENABLE_RAY_CLUSTER:" in inspect.getsource(ray._private.services.get_node_ip_address)
    before = ray._raylet.get_authentication_mode()
    with closed_to_others(ray):
        assert ray._raylet.get_authentication_mode() == ray._raylet.AuthenticationMode.TOKEN
        first = ray._raylet.AuthenticationTokenLoader.instance().get_raw_token()
    with closed_to_others(ray):
        assert ray._raylet.AuthenticationTokenLoader.instance().get_raw_token() != first
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the user's own")
    with closed_to_others(ray):
        assert os.environ["RAY_AUTH_TOKEN"] != "the user's own"
    assert os.environ["RAY_AUTH_TOKEN"] == "the user's own"
    assert "RAY_AUTH_MODE" not in os.environ
    assert ray._raylet.get_authentication_mode() == before


def test_ray_starts_in_the_mode_that_the_environment_has_now(monkeypatch):
    """In a process that used Ray before, in another mode."""
    for mode in ("token", "disabled", "token"):
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        with closed_to_others(ray):
            assert ray._raylet.get_authentication_mode() == getattr(ray._raylet.AuthenticationMode, mode.upper())
    monkeypatch.undo()
    with closed_to_others(ray):  # reads it again
        pass


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.1.2.3:6379", ("10.1.2.3", 6379)), ("ray://head:70", ("head", 70)), ("ray://head", ("head", 10001))],
)
def test_an_address_of_ray_is_a_host_and_a_port(address, expected):
    assert address_of(ray, address) == expected


def test_ray_knows_nodes_that_leave_and_that_are_alive():
    """What they say is tested with a real Ray in test_resources.py."""
    from ray.core.generated.gcs_pb2 import GcsNodeInfo

    assert callable(ray._private.state.state.get_draining_nodes)
    assert GcsNodeInfo.GcsNodeState.Value("ALIVE") == ALIVE


class Ended:
    """A Ray trial as our scheduler sees it."""

    PENDING = Trial.PENDING

    def __init__(self, status, recovers, error_file=None):
        self.status, self.recovers, self.error_file = status, recovers, error_file

    def should_recover(self):
        return self.recovers


def test_a_ray_trial_says_whether_its_process_is_started_again_and_why_it_died(tmp_path):
    assert {"should_recover", "error_file", "PENDING", "RUNNING"} <= set(dir(Trial))
    assert not lost_for_good(Ended(Trial.RUNNING, True))
    assert lost_for_good(Ended(Trial.RUNNING, False))
    assert lost_for_good(Ended(Trial.PENDING, True)), "it never got as far as to start"
    (tmp_path / "error.txt").write_text("Failure # 1\nTraceback\nModuleNotFoundError: No module named 'gone'\n\n")
    assert last_error(Ended(Trial.RUNNING, True, tmp_path / "error.txt")).endswith("No module named 'gone'")
    assert last_error(Ended(Trial.RUNNING, True)) == "its process died"


def test_our_state_stays_out_of_what_ray_pickles():
    thing = NotPickled()
    thing.open_file = open(__file__)  # noqa: SIM115
    assert vars(pickle.loads(pickle.dumps(thing))) == {}
    thing.open_file.close()
