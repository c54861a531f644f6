"""The batch script of nas/README.md under a SLURM that is played here: its signals, its requeue."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAKES = {
    "srun": 'SLURM_PROCID=0 exec "$@"',
    "ray": 'echo "$*" >> $LOG; [ "$1" = health-check ] || exec sleep 60',
    "scontrol": 'echo "scontrol $*" >> $LOG',
    # The search ends by itself if it is asked to, and otherwise a while after the signal, as with a long epoch.
    "python": 'trap "sleep 1; echo stopped with checkpoints >> $LOG; exit 0" USR1\n'
    'echo "search at $RAY_ADDRESS, $RAY_AUTH_MODE ${#RAY_AUTH_TOKEN}: $*" >> $LOG\n'
    "[ -z $DONE ] || exit 0\nwhile :; do sleep 0.1; done",
}


def script():
    text = (ROOT / "nas" / "README.md").read_text()
    return "#!/bin/bash\n#SBATCH" + text.split("#!/bin/bash\n#SBATCH")[1].split("```")[0]


def submitted(folder, **env):
    """The batch shell, as SLURM starts it."""
    (folder / "bin").mkdir()
    for name, body in FAKES.items():
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "job").write_text(script())
    env |= {
        "PATH": f"{folder}/bin:{os.environ['PATH']}", "LOG": str(folder / "log"), "SLURM_JOB_ID": "77",
        "SLURM_SUBMIT_DIR": str(folder),
    }  # fmt: skip
    return subprocess.Popen(["bash", str(folder / "job")], env={**os.environ, **env}, start_new_session=True)


HEAD = "start --head --port=6379 --block"


def lines(folder):
    return (folder / "log").read_text().splitlines() if (folder / "log").exists() else []


@pytest.mark.parametrize("signalled", [True, False])
def test_the_job_stops_the_search_before_its_end_and_is_queued_again_unless_the_search_is_done(tmp_path, signalled):
    job = submitted(tmp_path, DONE="" if signalled else "yes")
    try:
        if signalled:
            end = time.monotonic() + 60
            while not any(line.startswith("search") for line in lines(tmp_path)):
                assert time.monotonic() < end
                time.sleep(0.05)
            time.sleep(0.5)  # until the fake search has set its trap
            os.kill(job.pid, signal.SIGUSR1)  # --signal=B:USR1@120: the batch shell alone
        assert job.wait(timeout=60) == 0
        end = time.monotonic() + 60
        while HEAD not in lines(tmp_path):  # it starts in the background, beside the search
            assert time.monotonic() < end
            time.sleep(0.05)
    finally:
        os.killpg(job.pid, signal.SIGKILL)  # SLURM ends the steps that are left
    (search,) = [line for line in lines(tmp_path) if line.startswith("search")]
    assert ":6379, token 64: -m nas.run --study hybrid" in search
    if signalled:
        assert lines(tmp_path)[-2:] == ["stopped with checkpoints", "scontrol requeue 77"]
    else:
        assert not any("scontrol" in line for line in lines(tmp_path))
