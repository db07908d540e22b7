"""Options for the runner, and records whose numbers a test knows, in memory and on the disk."""

from pathlib import Path

import numpy as np

import data
from experiments import records
from experiments.options import Options
from experiments.records import Record


def few_images(patch):
    """Let the synthetic data have 50 training images of each class and 10 test images."""
    patch.setattr(data, "SYNTHETIC_TRAIN", 50)
    patch.setattr(data, "SYNTHETIC_TEST", 10)


def options(out=Path("unused"), **changes):
    """What `parse` returns for one short run on synthetic images."""
    defaults = {
        "arch": ["mlp_1"], "runs": 1, "epochs": 1, "batch_size": 450, "seed": 0,
        "dataset": "synthetic", "data_dir": Path("unused"), "out": out, "device": "cpu",
        "processes": 1, "threads": 1, "quick": True, "plot_only": False,
        "rank": 0, "world_size": 1, "local_rank": 0,
    }  # fmt: skip
    return Options(**(defaults | changes))


def record(test_acc=50.0, config=(), **curves):
    """A record of the given curves; `config` is as much of its definition as is needed."""
    arrays = {name: np.array(curve, np.float32) for name, curve in curves.items()}
    arrays["test_acc"] = np.array(test_acc, np.float32)
    return Record(Path("unused"), dict(config), {}, arrays)


def write_record(config, out, curve, data_sha256="0" * 64, **arrays):
    """Write a record of `config`, all of whose curves are `curve`."""
    defaults = {f"{name}_curve": curve for name in ("loss", "train_acc", "val_acc")}
    defaults |= {"test_acc": 50, "weights": np.zeros((32, 1024))}
    arrays = {name: np.asarray(a, np.float32) for name, a in (defaults | arrays).items()}
    path = records.record_path(config, out)
    records.save(path, arrays, config.definition(data_sha256), {"seconds": 1.0})
