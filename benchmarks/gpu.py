"""What a GPU gives: the training loop, ways to make it faster, and several trainings on one GPU. Ten minutes on a GPU.

    nvidia-smi && python benchmarks/gpu.py
    python benchmarks/gpu.py --device cpu --seconds 1 --processes 1 2     # only to see that it runs

Prints training images per second of wall time:

* `fit` and a bare loop with the same batches and precision, for five mixers. The difference is what our loop costs.
* the bare loop in float32, TF32 and bfloat16, for networks of several sizes: from which on bfloat16 pays
  (`trainers.fit.LARGE`).
* the bare loop in the precision of `fit` with channels-last images, compiled, and compiled to CUDA graphs.
* `fit` in 1, 2, 4 and 8 processes on one GPU, in all and by process. Start NVIDIA's MPS and run it again to compare.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from throughput import MIXERS, architecture
from torch import Tensor, nn

from nas.workers.training import resident
from search_space import Hybrid, Stage, build_model
from trainers import tasks
from trainers.batch.normalise import normalise, resolve
from trainers.config import NO_AUGMENTATION, TrainConfig
from trainers.data import Dataset, Simulated, load, source_to_dict
from trainers.fit import autocast, fit, tf32
from trainers.optimise import optimiser_of

IMAGES = Simulated(images=4000)
WIDTHS = (None, 64, 128, 256, 512)
CONFIG = TrainConfig(epochs=10**5, batch_size=128, augmentation=NO_AUGMENTATION)


def network(mixer: str, width: int | None = None) -> nn.Module:
    """The mixer's smallest network, or one of two stages of this width and twice of it."""
    torch.manual_seed(0)
    if width is None:
        made = architecture(mixer)
    else:
        stages = Stage(mixer, 2, width, 2.0), Stage(mixer, 2, 2 * width, 2.0, downsample=True)
        made = Hybrid(stages, patch=4, position="none" if mixer == "conv" else "fixed_2d")
    return build_model(made, in_chans=1, image_size=IMAGES.image_size, num_outputs=3)


def rate(steps: Iterator[int], seconds: float, device: str) -> float:
    """Images per second of an iterator that yields the number of images after each stretch; the first warms up."""
    next(steps)
    wait(device)
    begin, seen = time.perf_counter(), 0
    while time.perf_counter() < begin + seconds:
        seen += next(steps)
        wait(device)
    return seen / (time.perf_counter() - begin)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def by_fit(mixer: str, data: Dataset, device: str) -> Iterator[int]:
    task = tasks.create("substructure", data)
    for _ in fit(network(mixer), data.train, task, CONFIG, seed=0, device=device):
        yield len(data.train)


def bare(
    model: nn.Module, images: Tensor, labels: Tensor, cast: Callable[[], AbstractContextManager[Any]]
) -> Iterator[int]:
    """Nothing but forward, loss, backward, clipping and step; every batch has the same size, as CUDA graphs need."""
    optimizer = optimiser_of(model, CONFIG)
    model.train()
    size = CONFIG.batch_size
    while True:
        order = torch.randperm(len(labels), device=images.device)
        whole = len(labels) // size
        for index in order[: whole * size].view(whole, size):
            with cast():
                outputs = model(images[index])
            loss = F.cross_entropy(outputs.float(), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CONFIG.clip_norm)
            optimizer.step()
        yield whole * size


def precisions(device: str) -> dict[str, Callable[[], AbstractContextManager[Any]]]:
    return {"float32": nullcontext, "TF32": nullcontext, "bfloat16": partial(torch.autocast, device, torch.bfloat16)}


def variants(mixer: str, images: Tensor, labels: Tensor, device: str) -> Iterator[tuple[str, Iterator[int]]]:
    def made() -> nn.Module:
        return network(mixer).to(device)

    cast = partial(autocast, torch.device(device), made())
    last = images.to(memory_format=torch.channels_last)
    yield "channels last", bare(made().to(memory_format=torch.channels_last), last, labels, cast)
    for what, mode in (("compiled", None), ("CUDA graphs", "reduce-overhead")):
        model = made()
        model.compile(mode=mode)
        yield what, bare(model, images, labels, cast)


def packed(rank: int, processes: int, device: str, seconds: float, barrier: Any, found: Any) -> None:
    """One of several trainings on a GPU, with its share of the memory, as in a search."""
    torch.set_num_threads(1)
    data = opened(device, 1 / processes)
    steps = by_fit("conv", data, device)
    next(steps)
    barrier.wait()
    found.put((rank, rate(steps, seconds, device), data.train.images.device.type))


def opened(device: str, share: float) -> Dataset:
    return resident(json.dumps(source_to_dict(IMAGES)), "", device, share)


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    p.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    p.add_argument("--processes", type=int, nargs="*", default=[1, 2, 4, 8])
    args = p.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("this machine has no GPU that torch can use; --device cpu only shows that the script runs")
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{name}, torch {torch.__version__}, batches of {CONFIG.batch_size}, images of {IMAGES.image_size} pixels")
    load(IMAGES)
    data = opened(args.device, 1.0)
    images = normalise(data.train.images[:].to(args.device), resolve(CONFIG, data.train.images))
    labels = data.train.labels.to(args.device)
    print(f"{'mixer':12}{'fit':>10}{'bare':>10}{'fit / bare':>12}   images/s")
    for mixer in MIXERS:
        own = rate(by_fit(mixer, data, args.device), args.seconds, args.device)
        model = network(mixer).to(args.device)
        with tf32(torch.device(args.device)):
            loop = bare(model, images, labels, partial(autocast, torch.device(args.device), model))
            least = rate(loop, args.seconds, args.device)
        print(f"{mixer:12}{own:10.0f}{least:10.0f}{own / least:12.2f}", flush=True)
    print(f"{'mixer':12}{'width':>8}{'parameters':>12}" + "".join(f"{name:>10}" for name in precisions(args.device)))
    for mixer in ("conv", "attention"):
        for width in WIDTHS:
            seen = []
            for name, cast in precisions(args.device).items():
                model = network(mixer, width).to(args.device)
                with tf32(torch.device(args.device)) if name == "TF32" else nullcontext():
                    seen.append(rate(bare(model, images, labels, cast), args.seconds, args.device))
            size = f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M"
            print(f"{mixer:12}{width or 'least':>8}{size:>12}" + "".join(f"{n:10.0f}" for n in seen), flush=True)
    for mixer in ("conv", "attention"):
        for what, steps in variants(mixer, images, labels, args.device):
            try:
                with tf32(torch.device(args.device)):
                    one = rate(steps, args.seconds, args.device)
                print(f"{mixer:12}{what:16}{one:10.0f} images/s", flush=True)
            except Exception as error:  # a compiler that is not there must not end the rest
                print(f"{mixer:12}{what:16}{type(error).__name__}: {str(error).splitlines()[0][:80]}", flush=True)
    del data, images, labels
    spawn = multiprocessing.get_context("spawn")
    for processes in args.processes:
        barrier, found = spawn.Barrier(processes), spawn.Queue()
        several = [
            spawn.Process(target=packed, args=(k, processes, args.device, args.seconds, barrier, found))
            for k in range(processes)
        ]
        for process in several:
            process.start()
        rates = [found.get(timeout=600) for _ in several]
        for process in several:
            process.join()
        each = ", ".join(f"{images_per_second:.0f}" for _, images_per_second, _ in sorted(rates))
        held = {place for *_, place in rates}
        total = sum(images_per_second for _, images_per_second, _ in rates)
        print(
            f"{processes} on one GPU {total:10.0f} images/s ({each}); images held by {' and '.join(held)}", flush=True
        )


if __name__ == "__main__":
    main()
