"""CIFAR-10 as torchvision downloads it, turned to gray."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from files import UserError

CACHE_NAME = "cifar10_gray.npz"
Arrays = dict[str, np.ndarray]  # by the four names of the cache file, as read


def download_cifar10(data_dir: Path, dataset_class: type | None = None) -> Arrays:
    """CIFAR-10 through torchvision, downloaded unless `data_dir` holds it, in gray.

    `dataset_class` stands for `torchvision.datasets.CIFAR10`. Raises UserError if that fails.
    """
    try:
        from torchvision.datasets import CIFAR10  # only here: everything else works without it
    except (ImportError, RuntimeError) as error:
        raise UserError(
            f"torchvision cannot be imported ({str(error).splitlines()[0]}): torch and torchvision "
            "do not belong together; reinstall both with one command: "
            "pip install --force-reinstall torch torchvision"
        ) from error
    dataset_class = dataset_class or CIFAR10
    archive, unpacked = (data_dir / n for n in (dataset_class.filename, dataset_class.base_folder))
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        # torchvision writes in place, which other processes may be doing just now
        with tempfile.TemporaryDirectory(prefix=".download.", dir=data_dir) as own_folder:
            if archive.exists():
                shutil.copy(archive, own_folder)
            folder = data_dir if unpacked.exists() else own_folder
            train = dataset_class(folder, train=True, download=True)
            test = dataset_class(folder, train=False, download=True)
    except (OSError, RuntimeError, EOFError) as error:
        with contextlib.suppress(OSError):  # unless there is something in it
            data_dir.rmdir()
        raise UserError(
            f"{data_dir}: there is no {CACHE_NAME}, and CIFAR-10 could not be downloaded or "
            f"unpacked ({str(error).splitlines()[0]}); put one there, name its folder with "
            "--data-dir, or try --dataset synthetic"
        ) from error
    return {
        "train_images": to_gray(train.data),
        "train_labels": np.array(train.targets, np.uint8),
        "test_images": to_gray(test.data),
        "test_labels": np.array(test.targets, np.uint8),
    }


def to_gray(images: np.ndarray) -> np.ndarray:
    """RGB images (N, H, W, 3) uint8 as gray (N, H, W) uint8: Pillow's mode L (ITU-R 601 luma).

    Equal to `torchvision.transforms.Grayscale()` on each image.
    """
    count, height, width, _ = images.shape
    column = Image.fromarray(images.reshape(count * height, width, 3))  # all images, stacked
    return np.asarray(column.convert("L")).reshape(count, height, width)
