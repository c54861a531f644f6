import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import torch
from here import work_through_here

# A background job of a shell starts with Ctrl-C ignored, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # tests share the machine's cores with Ray's workers and with each other


@pytest.fixture(autouse=True)
def one_thread():
    """A test that trains as a worker does may leave more behind, and the next ones would wait for a busy core."""
    yield
    torch.set_num_threads(1)


def pytest_addoption(parser):
    parser.addoption(
        "--gpu", action="store_true", help="leave this machine's GPUs to the tests: for tests/test_cuda.py"
    )


def pytest_configure(config):
    """The tests say what they want of processors, and promise the same on every machine."""
    if not config.getoption("--gpu"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache of images for the tests of one module. What this process has opened is forgotten before and after."""
    from nas.workers.training import resident

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE", str(tmp_path_factory.mktemp("cache")))
        resident.cache_clear()
        yield
    resident.cache_clear()


@pytest.fixture
def without_ray(monkeypatch):
    """Searches and retrainings train in this process."""
    monkeypatch.setattr("nas.workers.pool.work_through", work_through_here)


@pytest.fixture(scope="session")
def postgresql_server():
    """A running PostgreSQL server. Its password is known to this process and the processes that it starts."""
    postgresql = pytest.importorskip("postgresql", reason="psycopg is not installed")
    if postgresql.MISSING:
        pytest.skip(f"PostgreSQL is not installed (no {', '.join(postgresql.MISSING)})")
    folder = Path(tempfile.mkdtemp(prefix="nas-postgresql-"))
    folder.chmod(0o755)  # for the server's own user
    server = postgresql.Server(folder)
    server.start()
    server.prepare()
    yield server
    server.stop("immediate")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgresql(postgresql_server, monkeypatch):
    """The server, with its password where the driver looks for it."""
    monkeypatch.setenv("PGPASSWORD", postgresql_server.password)
    return postgresql_server


@pytest.fixture(autouse=True)
def few_lenses(monkeypatch):
    """Every search of simulated lenses measures what can be found in them; in tests, in six of them."""
    monkeypatch.setattr("trainers.data.limits.IMAGES", 6)
