"""A run is one training, its record is one file.

    results/runs/part3/cnn_3/run_07.npz      curves (float32), test_acc, weights,
                                             config and environment (JSON strings)

`config` holds all that defines the result. A record with another definition is neither overwritten
nor averaged in.
"""

import contextlib
import json
import math
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from data import SCALED, SPLIT_SEED, Data
from files import UserError, read_npz
from models import build
from training import RECORD_EVERY

MAX_RECORD_BYTES = 50_000_000


@dataclass(frozen=True)
class Run:
    """What defines one training, all but the data's checksum."""

    part: str  # "part3"
    variant: str  # what tells apart the trainings of a part: "cnn_3", "cnn_3_relu", "cnn_4_lr_0.1"
    architecture: str
    activation: str  # the name of a class of torch.nn
    optimizer: str  # the name of a class of torch.optim, all else its default
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    index: int  # the number of the repetition, from 0
    seed: int  # of the initial weights and of the batch order
    dataset: str
    drop_epochs: tuple[int, ...] = ()  # after which the next learning rate takes over
    split_seed: int | None = SPLIT_SEED
    pixel_range: tuple[float, float] = SCALED
    record_every: int = RECORD_EVERY

    def __str__(self) -> str:
        return f"{self.part} {self.variant} run_{self.index:02d}"

    def path(self, out: Path) -> Path:
        """Where the record lies below the output folder."""
        return out / "runs" / self.part / self.variant / f"run_{self.index:02d}.npz"

    def config(self, data_sha256: str) -> dict:
        """The definition as it stands in the record."""
        definition = {k: v for k, v in asdict(self).items() if k not in ("variant", "index")}
        return json.loads(json.dumps(definition | {"data_sha256": data_sha256}))

    def start(self, data: Data) -> tuple[nn.Sequential, torch.Generator]:
        """The network with its initial weights, and the generator of the batch order.

        Both are drawn on the CPU, so they are the same on every device.
        """
        torch.manual_seed(self.seed)
        model = build(self.architecture, getattr(nn, self.activation))
        model = model.to(data.train.images.device, memory_format=torch.channels_last)
        return model, torch.Generator().manual_seed(self.seed)

    def phases(self) -> list[tuple[float, range]]:
        """The learning rates, each with its epochs."""
        starts, stops = (0, *self.drop_epochs), (*self.drop_epochs, self.epochs)
        return list(zip(self.learning_rates, map(range, starts, stops), strict=True))

    def optimizer_for(self, model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """A new optimizer with default parameters; `fused` is the same arithmetic, faster."""
        optimizer_class = getattr(torch.optim, self.optimizer)
        return optimizer_class(model.parameters(), lr=learning_rate, fused=True)

    def num_steps(self, num_images: int) -> int:
        return self.epochs * math.ceil(num_images / self.batch_size)


# The keys of Run.config
DEFINITION = {field.name for field in fields(Run)} - {"variant", "index"} | {"data_sha256"}


def repeat(options: Namespace, **definition) -> list[Run]:
    """As many runs as the options ask for, which differ in their seed only."""
    common = {k: getattr(options, k) for k in ("epochs", "batch_size", "dataset")} | definition
    return [Run(**common, index=i, seed=options.seed + i) for i in range(options.runs)]


@dataclass(frozen=True)
class Record:
    """A finished run as read from its file."""

    path: Path
    config: dict
    environment: dict
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def test_acc(self) -> float:
        """Test accuracy, percent, without the noise of single precision."""
        return round(float(self.arrays["test_acc"]), 4)


def read_record(path: Path) -> Record:
    """Read one record.

    Raises FileNotFoundError if there is none, UserError if it cannot be read, and ValueError if it
    is damaged.
    """
    try:
        arrays = read_npz(path, MAX_RECORD_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        texts = [json.loads(str(arrays.pop(name, ""))) for name in ("config", "environment")]
    except RecursionError as error:
        raise ValueError("no definition in it") from error
    if not all(isinstance(text, dict) for text in texts):
        raise ValueError("no definition in it")
    if left_out := DEFINITION - texts[0].keys():
        raise ValueError(f"no {min(left_out)} in its definition")
    _check(arrays, "grad_curve" if texts[0].get("split_seed") is None else "val_acc_curve")
    return Record(path, *texts, arrays)


def _check(arrays: dict[str, np.ndarray], third_curve: str) -> None:
    """Raise ValueError unless there are curves of one length, a test accuracy and weights."""
    curves = ("loss_curve", "train_acc_curve", third_curve)
    for name in (*curves, "test_acc", "weights"):
        if name not in arrays:
            raise ValueError(f"no {name} in it")
        array = arrays[name]
        fits = {
            "test_acc": array.shape == (),
            "weights": array.size > 0 and array.shape[1:] in ((32 * 32,), (1, 3, 3)),
        }.get(name, array.size > 0 and array.shape == (arrays["loss_curve"].size,))
        if array.dtype != np.float32 or not fits:
            raise ValueError(f"{name} is {array.dtype} {array.shape}")


def find_record(run: Run, out: Path, data_sha256: str | None = None) -> Record | None:
    """The record of `run` below `out`, or None if there is none yet.

    Without `data_sha256` any data will do. A damaged record is moved aside and counts as none.
    Raises UserError if the record there has another definition.
    """
    path = run.path(out)
    try:
        record = read_record(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        aside = path.with_suffix(".damaged")
        with contextlib.suppress(FileNotFoundError):  # another process may have moved it
            path.replace(aside)
        tqdm.write(f"{path}: damaged ({error}); moved to {aside.name}, the run has to be trained")
        return None
    expected = run.config(data_sha256 or record.config["data_sha256"])
    for key in sorted(expected.keys() | record.config.keys()):
        recorded, wanted = record.config.get(key), expected.get(key)
        if recorded != wanted:
            raise UserError(
                f"{path}: recorded with {key} {recorded}, now it is {wanted}; "
                "ask for what is recorded, or choose another folder with --out"
            )
    return record


def check_none_left_out(runs: Sequence[Run], out: Path) -> None:
    """Raise UserError if there are more repetitions below `out` than `runs` has."""
    for folder, asked in Counter(run.path(out).parent for run in runs).items():
        recorded = len(list(folder.glob("run_*.npz")))
        if recorded > asked:
            raise UserError(
                f"{folder}: holds {recorded} runs, more than the {asked} asked for; "
                f"ask for --runs {recorded}, or choose another folder with --out"
            )


def check_same_data(out: Path, data_sha256: str) -> None:
    """Raise UserError if what is recorded below `out` is of other data; one record tells."""
    for path in sorted((out / "runs").rglob("run_*.npz")):
        with contextlib.suppress(ValueError, FileNotFoundError):  # then the next one tells
            if read_record(path).config["data_sha256"] != data_sha256:
                raise UserError(f"{path}: recorded with other data; choose another --out")
            return
