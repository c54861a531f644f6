import signal

import pytest
import torch
from here import work_through_here

# A background job of a shell starts with Ctrl-C ignored, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # tests share the machine's cores with Ray's workers and with each other


@pytest.fixture
def without_ray(monkeypatch):
    """Searches and retrainings train in this process."""
    monkeypatch.setattr("nas.workers.pool.work_through", work_through_here)


@pytest.fixture(autouse=True)
def few_lenses(monkeypatch):
    """Every search of simulated lenses measures what can be found in them; in tests, in six of them."""
    monkeypatch.setattr("trainers.data.limits.IMAGES", 6)
