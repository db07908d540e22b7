"""CIFAR-10 in grayscale, its stratified validation split, and the batches of the training loop.

    >>> import torch
    >>> from data import BatchLoader, load
    >>> data = load("cifar10", "data", torch.device("cpu"))
    >>> train_generator = BatchLoader(data.train, batch_size=50)

`load` looks for `cifar10_gray.npz` in a folder. If it is not there, torchvision provides CIFAR-10,
which is converted to grayscale once and kept as that file.
"""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock
from PIL import Image
from torch import Tensor

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CACHE_NAME, BATCHES = "cifar10_gray.npz", "cifar-10-batches-py"  # ours, torchvision's folder
# "converted to one gray channel"; the assignment mentions 60,000 training images, there are 50,000
SHAPES = {
    "train_images": (50_000, 32, 32), "train_labels": (50_000,),
    "test_images": (10_000, 32, 32), "test_labels": (10_000,),
}  # fmt: skip
PIXEL_RANGE = (-1.0, 1.0)  # "pixel values are scaled to [-1.0, 1.0]"
ONE_IN = 10  # "Split 10% of the training data as the validation set"
SPLIT_SEED = 449  # the split is the same in all runs
QUICK_TRAIN, QUICK_TEST = 500, 100  # images of each class in the quick protocol

Arrays = dict[str, np.ndarray]  # uint8, by the names in SHAPES


class DataError(Exception):
    """Raised for data that cannot be used. The message is one line that says what to do."""


class Examples(NamedTuple):
    """Images (N, 1, 32, 32) float32 and their labels (N,) int64, on one device."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Data:
    """The three sets of examples. `val` is empty if the training images were not split."""

    train: Examples
    val: Examples
    test: Examples
    sha256: str  # of the arrays that the sets were made from


def load(
    dataset: str,
    data_dir: str | Path,
    device: torch.device,
    quick: bool = False,
    split_seed: int | None = SPLIT_SEED,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
) -> Data:
    """Read the images, split and scale them, and move them to `device`.

    See `read` and `prepare` for the arguments and the errors.
    """
    return prepare(read(dataset, data_dir, quick), device, split_seed, pixel_range)


def read(dataset: str, data_dir: str | Path, quick: bool = False) -> Arrays:
    """Return grayscale images and their labels, as uint8 arrays by the names in SHAPES.

    dataset: "cifar10", read from `data_dir`, or "synthetic", drawn anew.
    quick: keep the first images of each class only.

    Raises DataError if the files are missing, damaged or not CIFAR-10, and ValueError for another
    name of a dataset.
    """
    if dataset not in ("cifar10", "synthetic"):
        raise ValueError(f"dataset {dataset!r} is not cifar10 or synthetic")
    arrays = read_cifar10(Path(data_dir)) if dataset == "cifar10" else draw_synthetic()
    return first_of_each_class(arrays) if quick else arrays


def prepare(
    arrays: Arrays,
    device: torch.device,
    split_seed: int | None = SPLIT_SEED,
    pixel_range: tuple[float, float] = PIXEL_RANGE,
) -> Data:
    """Split and scale the images of `arrays`, and move them to `device`.

    split_seed: the seed of the validation split, or None to leave all images in the training set.
    pixel_range: the values of black and of white.
    """
    train_indices, val_indices = stratified_split(arrays["train_labels"], split_seed)

    def examples(subset: str, indices: np.ndarray | slice) -> Examples:
        images = torch.from_numpy(arrays[f"{subset}_images"][indices])
        labels = torch.from_numpy(arrays[f"{subset}_labels"][indices])
        # Scaled on the CPU, because a GPU rounds the division differently
        return Examples(scale(images, pixel_range).to(device), labels.long().to(device))

    return Data(
        train=examples("train", train_indices),
        val=examples("train", val_indices),
        test=examples("test", slice(None)),
        sha256=sha256(arrays),
    )


def to_gray(images: np.ndarray) -> np.ndarray:
    """Convert RGB images (N, H, W, 3) to grayscale (N, H, W), both uint8.

    The result is Pillow's mode "L" (ITU-R 601 luma), which is also what
    `torchvision.transforms.Grayscale()` returns for each image.
    """
    count, height, width, _ = images.shape
    column = Image.fromarray(images.reshape(count * height, width, 3))  # all images, stacked
    return np.array(column.convert("L")).reshape(count, height, width)


def scale(images: Tensor, pixel_range: tuple[float, float] = PIXEL_RANGE) -> Tensor:
    """Scale uint8 images (N, 32, 32) so that 0 and 255 become the ends of `pixel_range`.

    Returns float32 (N, 1, 32, 32).
    """
    low, high = pixel_range
    return (images.float() * (high - low) / 255.0 + low).unsqueeze(1)  # exact at both ends


def stratified_split(labels: np.ndarray, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw a tenth of each class for validation, "by randomly taking equal number of samples".

    labels: (N,) of any integer dtype. seed: None leaves all images in the training set.

    Returns the sorted indices of the training images and of the validation images. They are
    disjoint and cover all images. The same seed gives the same split.
    """
    if seed is None:
        return np.arange(len(labels)), np.arange(0)
    generator = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    drawn = [generator.choice(c, len(c) // ONE_IN, replace=False) for c in classes]
    validation = np.sort(np.concatenate(drawn))
    return np.setdiff1d(np.arange(len(labels)), validation), validation


class BatchLoader:
    """Iterate over `examples` in batches. One iteration is one epoch.

    `shuffle=True` draws a new order at the start of each epoch. The same `seed` gives the same
    orders. The last batch is smaller if the batch size does not divide the number of examples.

    `DataLoader(TensorDataset(*examples), batch_size=50, shuffle=True)` can take its place. Here
    the examples lie on the device as two tensors, so that a batch is one indexing operation
    (0.19 ms instead of 0.55 ms on a CPU), and a GPU is sent one permutation an epoch.
    """

    def __init__(self, examples: Examples, batch_size: int, shuffle: bool = True, seed: int = 0):
        self.images, self.labels = examples
        self.batch_size, self.shuffle = batch_size, shuffle
        # Orders are drawn on the CPU, so they depend neither on the device nor on PyTorch's default
        self.generator = torch.Generator("cpu").manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.shuffle:  # "Shuffle training set after each epoch"
            order = torch.randperm(len(self.images), generator=self.generator, device="cpu")
        else:
            order = torch.arange(len(self.images), device="cpu")
        for batch in order.to(self.images.device).split(self.batch_size):
            # The same as images[batch], in half the time
            yield self.images.index_select(0, batch), self.labels.index_select(0, batch)


def first_of_each_class(arrays: Arrays) -> Arrays:
    """Return the first QUICK_TRAIN training and QUICK_TEST test images of each class."""
    first = {}
    for subset, count in (("train", QUICK_TRAIN), ("test", QUICK_TEST)):
        labels = arrays[f"{subset}_labels"]
        kept = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))
        first[f"{subset}_images"] = arrays[f"{subset}_images"][kept]
        first[f"{subset}_labels"] = labels[kept]
    return first


def sha256(arrays: Arrays) -> str:
    """Return the checksum of the four arrays, in the order of SHAPES."""
    return hashlib.sha256(b"".join(arrays[name].tobytes() for name in SHAPES)).hexdigest()


# ---- CIFAR-10: the cache, made from torchvision's files if it is not there


def read_cifar10(data_dir: Path) -> Arrays:
    """Read grayscale CIFAR-10 from the cache in `data_dir`, which is made if it is not there.

    Raises DataError if the cache is damaged, or if it is missing and cannot be made.
    """
    if data_dir.name == BATCHES:
        data_dir = data_dir.parent
    cache = data_dir / CACHE_NAME
    if os.path.exists(cache):
        return _read_cache(cache)
    if not os.path.exists(data_dir / BATCHES):
        print(f"{cache}: missing; it is made from CIFAR-10, which is downloaded (170 MB) unless "
              "its archive is there", flush=True)  # fmt: skip
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            # A file system that is read-only or has no locks lets all processes in at once
            with contextlib.suppress(OSError, NotImplementedError):
                stack.enter_context(FileLock(data_dir / ".download.lock"))
            return _make_cache(cache)  # whoever waited finds torchvision's files and converts them
    except (OSError, RuntimeError, HTTPException) as error:
        raise DataError(
            f"{data_dir}: there is no {CACHE_NAME}, and CIFAR-10 could not be downloaded or "
            f"unpacked ({_first_line(error)}); put that file there, name its folder with "
            "--data-dir, or try --dataset synthetic"
        ) from error


def _read_cache(cache: Path) -> Arrays:
    try:
        with np.load(cache) as file:
            arrays = {name: file[name] for name in SHAPES}
        for name, array in arrays.items():
            if array.shape != SHAPES[name] or array.dtype != np.uint8:
                raise ValueError(f"{name} is {array.dtype} {array.shape}, not uint8 {SHAPES[name]}")
            if array.ndim == 1 and np.bincount(array).tolist() != [len(array) // 10] * 10:
                raise ValueError(f"{name} are not {len(array) // 10} of each class from 0 to 9")
    except Exception as error:  # damaged bytes make NumPy, zipfile and zlib raise many kinds
        raise DataError(
            f"{cache}: cannot be read as grayscale CIFAR-10 ({_first_line(error)}); "
            "move it away to have it made anew, or name another folder with --data-dir"
        ) from error
    return arrays


def _make_cache(cache: Path) -> Arrays:
    """Convert torchvision's CIFAR-10 to grayscale and write the cache, whole or not at all.

    torchvision knows the MD5 of its files. It downloads or unpacks again what was interrupted.
    """
    try:
        from torchvision.datasets import CIFAR10  # only here: all else works without it
    except Exception as error:  # with another torch than its own it fails in many ways
        raise DataError(
            f"torchvision cannot be imported ({_first_line(error)}); reinstall it together with "
            "its torch: pip install --force-reinstall torch torchvision"
        ) from error
    arrays = {}
    for subset in ("train", "test"):
        colored = CIFAR10(cache.parent, train=subset == "train", download=True)
        arrays[f"{subset}_images"] = to_gray(colored.data)
        arrays[f"{subset}_labels"] = np.array(colored.targets, np.uint8)
    try:
        with tempfile.TemporaryDirectory(dir=cache.parent) as folder:
            np.savez_compressed(Path(folder, CACHE_NAME), **arrays)  # type: ignore[arg-type]
            os.replace(Path(folder, CACHE_NAME), cache)
    except OSError as error:
        print(f"{cache}: not kept ({_first_line(error)}); CIFAR-10 is converted at every start")
    return arrays


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


# ---- A stand-in that needs no file and no network

SYNTHETIC_TRAIN, SYNTHETIC_TEST = 1000, 200  # images of each class
NOISE = 12.0  # standard deviation, in gray levels


def draw_synthetic(seed: int = 0) -> Arrays:
    """Draw 10,000 training and 2,000 test images of ten shapes and textures, equally many of each.

    The shapes lie anywhere, in any size, brighter or darker than the background, under noise. So
    pixels at fixed places say little, and a CNN does better than an MLP.

    Returns train_images (10000, 32, 32), train_labels (10000,), test_images (2000, 32, 32) and
    test_labels (2000,), all uint8. The same seed gives the same images.
    """
    generator = np.random.default_rng(seed)
    arrays = {}
    for subset, per_class in (("train", SYNTHETIC_TRAIN), ("test", SYNTHETIC_TEST)):
        labels = generator.permutation(np.repeat(np.arange(10), per_class))
        arrays[f"{subset}_images"] = _draw(labels, generator)
        arrays[f"{subset}_labels"] = labels.astype(np.uint8)
    return arrays


def _draw(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw an image (32, 32) uint8 for each of `labels` (N,)."""

    def uniform(low: float, high: float) -> np.ndarray:
        return generator.uniform(low, high, (len(labels), 1, 1)).astype(np.float32)

    radius = uniform(7, 12)
    axis = np.arange(32, dtype=np.float32)
    x = axis[None, None, :] - 15.5 - uniform(-1, 1) * (15.5 - radius)  # from the shape's centre
    y = axis[None, :, None] - 15.5 - uniform(-1, 1) * (15.5 - radius)
    angle = uniform(-0.3, 0.3)
    x, y = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y

    inside = np.empty((len(labels), 32, 32), dtype=bool)
    for label, shape in enumerate(SYNTHETIC_SHAPES):
        members = labels == label
        inside[members] = shape(x[members], y[members], radius[members])

    background = uniform(110, 145)
    contrast = uniform(60, 110) * np.where(uniform(-1, 1) < 0, -1, 1)
    noise = generator.standard_normal(inside.shape, dtype=np.float32) * NOISE
    return np.clip(background + contrast * inside + noise, 0, 255).astype(np.uint8)


def _disc(x, y, r):
    return x * x + y * y < r * r


def _square(x, y, r):
    return np.maximum(abs(x), abs(y)) < 0.8 * r


SYNTHETIC_SHAPES = (  # each: whether a pixel is inside, from x, y and the radius r in pixels
    _disc,
    lambda x, y, r: _disc(x, y, r) & ~_disc(x, y, 0.6 * r),  # ring
    _square,
    lambda x, y, r: _square(x, y, r) & ~_square(x, y, 0.6 * r),  # frame
    lambda x, y, r: (y < 0.7 * r) & (y > 1.8 * abs(x) - r),  # triangle
    lambda x, y, r: _square(x, y, 1.2 * r) & (np.minimum(abs(x), abs(y)) < 0.25 * r),  # plus
    lambda x, y, r: _square(x, y, 1.1 * r) & (abs(abs(x) - abs(y)) < 0.35 * r),  # cross
    lambda x, y, r: _square(x, y, r) & (y % 5 < 2.5),  # horizontal stripes
    lambda x, y, r: _square(x, y, r) & (x % 5 < 2.5),  # vertical stripes
    lambda x, y, r: _square(x, y, r) & ((x % 6 < 3) ^ (y % 6 < 3)),  # chequerboard
)
