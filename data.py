"""CIFAR-10 in grayscale, its stratified validation split, and the batches of the training loop.

    >>> import torch
    >>> from data import BatchLoader, load
    >>> data = load("cifar10", "data", torch.device("cpu"))
    >>> train_generator = BatchLoader(data.train, batch_size=50)

`load` looks for `cifar10_gray.npz` in a folder. If it is not there, torchvision provides CIFAR-10,
which is converted to grayscale once and kept as that file. The file imports nothing of the package.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch import Tensor

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CACHE_NAME = "cifar10_gray.npz"
# "converted to one gray channel"; the assignment speaks of 60,000 training images, there are 50,000
SHAPES = {
    "train_images": (50_000, 32, 32),
    "train_labels": (50_000,),
    "test_images": (10_000, 32, 32),
    "test_labels": (10_000,),
}
MAX_CACHE_BYTES = 100_000_000  # unpacked; CIFAR-10 in grayscale has 61 million
ONE_IN = 10  # "Split 10% of the training data as the validation set"
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
    sha256: str


class BatchLoader:
    """Iterate over `examples` in batches. One iteration is one epoch.

    It has the interface of `torch.utils.data.DataLoader`, which can take its place:
    `DataLoader(TensorDataset(*examples), batch_size=50, shuffle=True)`. It is not that class
    because the examples already lie on the device as two tensors. A batch is one indexing operation
    (0.19 ms instead of 0.55 ms on a CPU), and a GPU is sent one permutation an epoch.

    `shuffle=True` draws a new order at the start of each epoch. The same `seed` gives the same
    orders. The last batch is smaller if the batch size does not divide the number of examples.
    """

    def __init__(self, examples: Examples, batch_size: int, shuffle: bool = True, seed: int = 0):
        self.images, self.labels = examples
        self.batch_size, self.shuffle = batch_size, shuffle
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.shuffle:  # "Shuffle training set after each epoch"
            order = torch.randperm(len(self.images), generator=self.generator)
        else:
            order = torch.arange(len(self.images))
        for batch in order.to(self.images.device).split(self.batch_size):
            # The same as images[batch], in half the time
            yield self.images.index_select(0, batch), self.labels.index_select(0, batch)


def load(
    dataset: str,
    data_dir: str | Path,
    device: torch.device,
    quick: bool = False,
    split_seed: int | None = 449,
    pixel_range: tuple[float, float] = (-1.0, 1.0),
) -> Data:
    """Read the images, split and scale them, and move them to `device`.

    dataset: "cifar10", read from `data_dir`, or "synthetic", drawn anew.
    quick: keep the first images of each class only.
    split_seed, pixel_range: see `prepare`.

    Raises DataError if the files are missing, damaged or not CIFAR-10, and ValueError for another
    name of a dataset.
    """
    return prepare(read(dataset, data_dir, quick), device, split_seed, pixel_range)


def read(dataset: str, data_dir: str | Path, quick: bool = False) -> Arrays:
    """Return the grayscale images and labels of `dataset` as uint8 arrays. See `load`."""
    if dataset not in ("cifar10", "synthetic"):
        raise ValueError(f"dataset {dataset!r} is not cifar10 or synthetic")
    arrays = read_cifar10(Path(data_dir)) if dataset == "cifar10" else draw_synthetic()
    return first_of_each_class(arrays) if quick else arrays


def prepare(
    arrays: Arrays,
    device: torch.device,
    split_seed: int | None = 449,
    pixel_range: tuple[float, float] = (-1.0, 1.0),
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


def scale(images: Tensor, pixel_range: tuple[float, float] = (-1.0, 1.0)) -> Tensor:
    """Scale uint8 images (N, 32, 32) so that 0 and 255 become the ends of `pixel_range`.

    Returns float32 (N, 1, 32, 32).
    """
    low, high = pixel_range
    return (images.float() * (high - low) / 255.0 + low).unsqueeze(1)  # exact at both ends


def stratified_split(labels: np.ndarray, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Draw a tenth of each class for validation, "by randomly taking equal number of samples".

    labels: (N,) of any integer dtype. seed: None leaves all images in the training set.
    Returns the sorted indices of the training images and of the validation images. They are
    disjoint, cover all images, and are the same for the same seed.
    """
    if seed is None:
        return np.arange(len(labels)), np.arange(0)
    generator = np.random.default_rng(seed)
    validation = np.concatenate(
        [
            generator.choice(members, len(members) // ONE_IN, replace=False)
            for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
        ]
    )
    return np.setdiff1d(np.arange(len(labels)), validation), np.sort(validation)


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
    digest = hashlib.sha256()
    for name in SHAPES:
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


# ---- CIFAR-10: the cache, or else torchvision


def read_cifar10(data_dir: Path) -> Arrays:
    """Read grayscale CIFAR-10 from `data_dir`.

    The first of these that exists is read: the cache, torchvision's files, a download. The cache is
    written if it is not there; if that is impossible, a line says so.
    Raises DataError if there is nothing to read, or if the cache is damaged.
    """
    if data_dir.exists() and not data_dir.is_dir():
        raise DataError(f"{data_dir}: not a folder; name that of {CACHE_NAME} with --data-dir")
    cache = data_dir / CACHE_NAME
    if cache.exists():
        return _read_cache(cache)
    if data_dir.resolve().name == "cifar-10-batches-py":  # torchvision's folder, not its parent
        return read_cifar10(data_dir.resolve().parent)
    try:
        arrays = _read_batches(data_dir, download=False)
    except (OSError, RuntimeError, EOFError):  # torchvision found no files, or damaged ones
        return _download(data_dir)
    _keep(arrays, cache)
    return arrays


def _read_cache(cache: Path) -> Arrays:
    way_out = "move it away to have it made anew, or name another folder with --data-dir"
    try:
        with np.load(cache, allow_pickle=False) as file:
            if sum(member.file_size for member in file.zip.infolist()) > MAX_CACHE_BYTES:
                raise ValueError(f"unpacks to more than {MAX_CACHE_BYTES} bytes")
            arrays = {name: np.asarray(array) for name, array in file.items()}
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged bytes
        why = getattr(error, "strerror", None) or _first_line(error)
        raise DataError(f"{cache}: not a readable .npz file ({why}); {way_out}") from error
    if problem := _problem(arrays):
        raise DataError(f"{cache}: not CIFAR-10 in grayscale: {problem}; {way_out}")
    return arrays


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _problem(arrays: Arrays) -> str | None:
    """Say why these are not 50,000 + 10,000 images, equally many of each class."""
    for name, shape in SHAPES.items():
        if name not in arrays:
            return f"it has no array {name}"
        array = arrays[name]
        if array.shape != shape or array.dtype != np.uint8:
            return f"{name} is {array.dtype} {array.shape}, not uint8 {shape}"
        if name.endswith("labels") and np.bincount(array).tolist() != [len(array) // 10] * 10:
            return f"{name} are not {len(array) // 10} of each class from 0 to 9"
    return None


def _keep(arrays: Arrays, cache: Path) -> None:
    """Write the cache, whole or not at all."""
    if problem := _problem(arrays):
        raise DataError(f"{cache.parent}: not CIFAR-10: {problem}")
    try:
        with tempfile.TemporaryDirectory(prefix=".download.", dir=cache.parent) as folder:
            np.savez_compressed(Path(folder, CACHE_NAME), **arrays)  # type: ignore[arg-type]
            os.replace(Path(folder, CACHE_NAME), cache)
    except OSError as error:
        reason = error.strerror or error
        print(f"{cache}: not kept ({reason}); CIFAR-10 is converted again at every start")


def _download(data_dir: Path) -> Arrays:
    """Download CIFAR-10. One process downloads, others that ask for the same folder wait for it."""
    archive = data_dir / "cifar-10-python.tar.gz"
    created = not data_dir.exists()
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with _only_process(data_dir / ".download.lock"):
            if (data_dir / CACHE_NAME).exists():  # made by the process that we waited for
                return _read_cache(data_dir / CACHE_NAME)
            for left_over in data_dir.glob(".download.*/"):  # of a process that was killed
                shutil.rmtree(left_over, ignore_errors=True)
            # In a folder of its own, because torchvision leaves incomplete files behind
            with tempfile.TemporaryDirectory(prefix=".download.", dir=data_dir) as folder:
                if archive.exists():
                    shutil.copy(archive, folder)
                else:
                    print(f"{data_dir}: there is no {CACHE_NAME}; downloading CIFAR-10 (170 MB)",
                          flush=True)  # fmt: skip
                arrays = _read_batches(Path(folder), download=True)
            _keep(arrays, data_dir / CACHE_NAME)
            return arrays
    except (OSError, RuntimeError, EOFError, HTTPException) as error:
        if created:
            shutil.rmtree(data_dir, ignore_errors=True)
        raise DataError(
            f"{data_dir}: there is no {CACHE_NAME}, and CIFAR-10 could not be downloaded or "
            f"unpacked ({_first_line(error)}); put one there, name its folder with "
            "--data-dir, or try --dataset synthetic"
        ) from error


def _only_process(path: Path) -> contextlib.AbstractContextManager:
    """Hold the lock of a file. The operating system releases it when a process dies."""
    lock = FileLock(path)
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        print(f"{path.parent}: another process downloads CIFAR-10; waiting for it", flush=True)
        return lock.acquire()


def _read_batches(root: Path, download: bool) -> Arrays:
    """Read CIFAR-10 through torchvision, which knows the checksums, and convert it to grayscale."""
    try:
        from torchvision.datasets import CIFAR10  # only here: all else works without it
    except (ImportError, RuntimeError) as error:
        raise DataError(
            f"torchvision cannot be imported ({_first_line(error)}): torch and torchvision "
            "do not belong together; reinstall both with one command: "
            "pip install --force-reinstall torch torchvision"
        ) from error
    train = CIFAR10(root, train=True, download=download)
    test = CIFAR10(root, train=False, download=download)
    return {
        "train_images": to_gray(train.data),
        "train_labels": np.array(train.targets, np.uint8),
        "test_images": to_gray(test.data),
        "test_labels": np.array(test.targets, np.uint8),
    }


def to_gray(images: np.ndarray) -> np.ndarray:
    """Convert RGB images (N, H, W, 3) to grayscale (N, H, W), both uint8.

    The result is Pillow's mode "L" (ITU-R 601 luma), which is also what
    `torchvision.transforms.Grayscale()` returns for each image.
    """
    count, height, width, _ = images.shape
    column = Image.fromarray(images.reshape(count * height, width, 3))  # all images, stacked
    return np.asarray(column.convert("L")).reshape(count, height, width)


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


def _triangle(x, y, r):
    return (y < 0.7 * r) & (y > 1.8 * abs(x) - r)


SYNTHETIC_SHAPES = (  # each: whether a pixel is inside, from x, y and the radius r in pixels
    _disc,
    lambda x, y, r: _disc(x, y, r) & ~_disc(x, y, 0.6 * r),  # ring
    _square,
    lambda x, y, r: _square(x, y, r) & ~_square(x, y, 0.6 * r),  # frame
    _triangle,
    lambda x, y, r: _square(x, y, 1.2 * r) & (np.minimum(abs(x), abs(y)) < 0.25 * r),  # plus
    lambda x, y, r: _square(x, y, 1.1 * r) & (abs(abs(x) - abs(y)) < 0.35 * r),  # cross
    lambda x, y, r: _square(x, y, r) & (y % 5 < 2.5),  # horizontal stripes
    lambda x, y, r: _square(x, y, r) & (x % 5 < 2.5),  # vertical stripes
    lambda x, y, r: _square(x, y, r) & ((x % 6 < 3) ^ (y % 6 < 3)),  # chequerboard
)
