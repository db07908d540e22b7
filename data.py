"""CIFAR-10 in gray, the stratified validation split, and a synthetic stand-in.

`load` looks for CIFAR-10 in a folder: first `cifar10_gray.npz` (train_images, train_labels,
test_images, test_labels, all uint8), else torchvision downloads CIFAR-10 there, which is turned to
gray once and kept as that file.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from download import CACHE_NAME, Arrays, download_cifar10
from files import UserError, read_npz, write_npz
from synthetic import draw_synthetic
from training import Examples

CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
SPLIT_SEED = 449  # one split for all runs, so that runs differ in weights and batch order only
VALIDATION_SHARE = 10  # one in ten: "Split 10% of the training data as the validation set"
SCALED = (-1.0, 1.0)  # "the pixel values are scaled to [-1.0, 1.0]"
UNSCALED = (0.0, 255.0)  # the bonus question of part 4
QUICK_TRAIN, QUICK_TEST = 500, 100  # images of each class in a quick protocol


TRAIN_IMAGES, TEST_IMAGES = 50_000, 10_000
SHAPES = {
    "train_images": (TRAIN_IMAGES, 32, 32),
    "train_labels": (TRAIN_IMAGES,),
    "test_images": (TEST_IMAGES, 32, 32),
    "test_labels": (TEST_IMAGES,),
}


@dataclass(frozen=True)
class Data:
    """What a training needs, on its device; `val` is empty where there is no split."""

    train: Examples
    val: Examples
    test: Examples
    sha256: str


def load(
    dataset: str,
    data_dir: Path,
    device: torch.device,
    quick: bool = False,
    split_seed: int | None = SPLIT_SEED,
    pixel_range: tuple[float, float] = SCALED,
) -> Data:
    """Read "cifar10" from `data_dir`, or draw "synthetic", split it and put it on `device`.

    `quick` keeps the first few images of each class. With `split_seed` None all training images
    stay in the training set. Black is mapped to the first value of `pixel_range`, white to the
    second. Raises UserError if the files are missing, damaged or not CIFAR-10.
    """
    arrays = read_cifar10(data_dir) if dataset == "cifar10" else draw_synthetic()
    if quick:
        arrays = _first_of_each_class(arrays)
    train_indices, val_indices = np.arange(len(arrays["train_labels"])), np.arange(0)
    if split_seed is not None:
        train_indices, val_indices = stratified_split(arrays["train_labels"], split_seed)

    def examples(subset: str, indices: np.ndarray | slice) -> Examples:
        images = torch.from_numpy(arrays[f"{subset}_images"][indices]).to(device)
        labels = torch.from_numpy(arrays[f"{subset}_labels"][indices]).to(device)
        return Examples(scale(images, pixel_range), labels.long())

    return Data(
        train=examples("train", train_indices),
        val=examples("train", val_indices),
        test=examples("test", slice(None)),
        sha256=sha256(arrays),
    )


def sha256(arrays: Arrays) -> str:
    """The checksum of the four arrays, in the order of `SHAPES`."""
    digest = hashlib.sha256()
    for name in SHAPES:
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def scale(images: Tensor, pixel_range: tuple[float, float] = SCALED) -> Tensor:
    """uint8 images (N, 32, 32) as float32 (N, 1, 32, 32), 0 and 255 mapped to `pixel_range`."""
    low, high = pixel_range
    return (images.float() * (high - low) / 255.0 + low).unsqueeze(1)  # exact at both ends


def stratified_split(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a tenth of each class at random for validation.

    labels (N,) of any integer dtype. Returns the sorted indices of the training and of the
    validation images: disjoint, together all of them, the same for the same seed.
    """
    generator = np.random.default_rng(seed)
    validation = np.concatenate(
        [
            generator.choice(members, len(members) // VALIDATION_SHARE, replace=False)
            for members in (np.flatnonzero(labels == label) for label in np.unique(labels))
        ]
    )
    return np.setdiff1d(np.arange(len(labels)), validation), np.sort(validation)


def _first_of_each_class(arrays: Arrays) -> Arrays:
    first = {}
    for subset, count in (("train", QUICK_TRAIN), ("test", QUICK_TEST)):
        labels = arrays[f"{subset}_labels"]
        kept = np.sort(np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)]))
        first[f"{subset}_images"] = arrays[f"{subset}_images"][kept]
        first[f"{subset}_labels"] = labels[kept]
    return first


def read_cifar10(data_dir: Path, dataset_class: type | None = None) -> Arrays:
    """CIFAR-10 in gray from `data_dir`: its cache file, or else a download, which makes the cache.

    `dataset_class` stands for `torchvision.datasets.CIFAR10`. Raises UserError if there is neither,
    or if the cache is damaged.
    """
    cache = data_dir / CACHE_NAME
    if data_dir.exists() and not data_dir.is_dir():
        raise UserError(f"{data_dir}: not a folder; name that of {CACHE_NAME} with --data-dir")
    if not cache.exists():
        arrays = download_cifar10(data_dir, dataset_class)
        _check(arrays, data_dir)
        write_npz(cache, arrays, compress=True)
        return arrays
    try:
        arrays = read_npz(cache, max_bytes=100_000_000)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error})"
        raise UserError(f"{cache}: {reason}; {_WAY_OUT}") from error
    except ValueError as error:
        raise UserError(f"{cache}: {error}; {_WAY_OUT}") from error
    _check(arrays, cache)
    return arrays


_WAY_OUT = "move it away to have it made anew, or name another folder with --data-dir"


def _check(arrays: Arrays, source: Path) -> None:
    """Raise UserError unless these are 50,000 + 10,000 gray images, equally many of each class."""
    problem = None
    for name, shape in SHAPES.items():
        if name not in arrays:
            problem = f"has no array {name}"
        elif arrays[name].shape != shape or arrays[name].dtype != np.uint8:
            array = arrays[name]
            problem = f"{name} is {array.dtype} {array.shape}, not uint8 {shape}"
        elif name.endswith("labels"):
            counts = np.bincount(arrays[name], minlength=len(CLASSES))
            if len(counts) > len(CLASSES):
                problem = f"{name} holds the label {len(counts) - 1}, not only 0..9"
            elif counts.min() != counts.max():
                problem = f"{name} has {counts.min()} to {counts.max()} images of a class"
        if problem:
            raise UserError(f"{source}: not CIFAR-10 in gray: {problem}; {_WAY_OUT}")
