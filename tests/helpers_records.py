"""Records whose numbers a test knows, in memory and on the disk, and options for the scripts."""

from argparse import Namespace
from pathlib import Path

from experiments import records
from experiments.records import Record

import numpy as np
import torch


def options(out=Path("unused"), **changes):
    """What parse_training_options returns for a small training of synthetic images, at once."""
    defaults = {
        "arch": None, "runs": 1, "epochs": 1, "batch_size": 450, "seed": 0, "dataset": "synthetic",
        "data_dir": Path("unused"), "out": out, "quick": True, "plot_only": False,
        "device": "cpu", "torch_device": torch.device("cpu"), "processes": 1, "threads": 1,
        "rank": 0, "world_size": 1, "local_rank": 0, "local_world_size": 1,
        "unscaled": False, "initialized": False, "drop_epochs": None,
    }  # fmt: skip
    return Namespace(**defaults | changes)


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
