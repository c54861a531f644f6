"""Images in a file that is larger than memory."""

import mmap

import numpy as np
import pytest
import torch

from trainers.data import mapped


@pytest.mark.parametrize("shape", [(40, 1, 8, 8), (17, 3, 33, 31)])
def test_images_of_a_large_file_are_those_of_the_file(tmp_path, monkeypatch, shape):
    images = np.random.default_rng(0).random(shape, dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    monkeypatch.setattr(mapped, "SHARE", 0.0)
    large = mapped.map_images(tmp_path / "images.npy")
    assert isinstance(large, mapped.Mapped)
    assert (len(large), tuple(large.shape), large.dtype) == (len(images), shape, torch.float32)
    for index in (torch.tensor([3, 0, shape[0] - 1, 3]), torch.tensor([], dtype=torch.int64)):
        assert np.array_equal(large[index].numpy(), images[index.numpy()])
    for part in (slice(None), slice(2, 9), slice(None, None, 5)):
        assert np.array_equal(large[part].numpy(), images[part])


def test_the_kernel_is_told_of_every_byte_of_a_batch_and_of_few_others(tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", np.zeros((50, 1, 70, 70), np.float32))
    large = mapped.Mapped(np.load(tmp_path / "images.npy", mmap_mode="c"))
    told = []
    monkeypatch.setattr(large, "_map", type("Map", (), {"madvise": lambda self, *words: told.append(words)})())
    large[torch.tensor([7, 49])]
    for row, (advice, start, length) in zip((7, 49), told, strict=True):
        begin = 128 + row * 70 * 70 * 4  # after the header of the file
        assert advice == mmap.MADV_WILLNEED
        assert start % mmap.PAGESIZE == 0
        assert start <= begin < start + mmap.PAGESIZE
        assert start + length == begin + 70 * 70 * 4
