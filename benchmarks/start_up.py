"""Processor time that a command needs before it does anything: `--help` of each, and `import nas`.

    python benchmarks/start_up.py

The median of five runs each, user and system time of the process and its children, in seconds.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

from nas.commands.cli import COMMANDS


def processor_seconds(words: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    calls = {f"python -m nas.{name} --help": ["-m", f"nas.{name}", "--help"] for name in COMMANDS}
    calls |= {"import nas": ["-c", "import nas"], "nas.search (imported)": ["-c", "import nas; nas.search"]}
    for name, words in calls.items():
        print(f"{name:32} {statistics.median(processor_seconds(words) for _ in range(5)):.2f} s")


if __name__ == "__main__":
    main()
