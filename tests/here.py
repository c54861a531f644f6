"""A small study, and what stands in for processes: the work of a pool, done in this process; work for a real pool."""

from nas.workers.failures import describe_failure
from search_space import ToySpace
from studies import StudySpec
from trainers.data import Simulated

TOY = StudySpec(
    "toy", "Which toy?", space=ToySpace(), data=Simulated(images=60, image_size=16), epochs=6, min_epochs=2,
    sampler="random", baselines=(),
)  # fmt: skip


def work_through_here(work, run, resources, **limits):
    """`nas.workers.pool.work_through`, one job after the other."""
    while (job := work.next()) is not None:
        try:
            wanted = True
            for item in run(job):
                wanted = work.report(job, item)
                if not wanted:
                    break
        except Exception as error:
            work.fail(job, describe_failure(error))
        else:
            if wanted:
                work.end(job)
    assert work.done


class Queue:
    """Work for a pool: jobs in order. A subclass says what becomes of each."""

    def __init__(self, jobs):
        self.waiting, self.running = list(jobs), 0

    @property
    def done(self):
        return not self.waiting and not self.running

    def next(self):
        if not self.waiting:
            return None
        self.running += 1
        return self.waiting.pop(0)
