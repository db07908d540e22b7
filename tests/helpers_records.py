"""Records whose numbers a test knows, in memory and on the disk."""

import json
from pathlib import Path

import numpy as np

from files import write_npz
from records import Record


def record(test_acc=50.0, config=(), **curves):
    """A record of the given curves; `config` is as much of its definition as is needed."""
    arrays = {name: np.array(curve, np.float32) for name, curve in curves.items()}
    arrays["test_acc"] = np.array(test_acc, np.float32)
    return Record(Path("unused"), dict(config), {}, arrays)


def write_arrays(run, out, arrays, data_sha256="0" * 64):
    """Write a record of `run` with these arrays."""
    arrays = {name: np.asarray(array, np.float32) for name, array in arrays.items()}
    texts = {"config": run.config(data_sha256), "environment": {"seconds": 1.0}}
    write_npz(run.path(out), arrays | {k: np.array(json.dumps(v)) for k, v in texts.items()})


def write_record(run, out, curve, data_sha256="0" * 64):
    """Write a record of `run`, all of whose curves are `curve`."""
    arrays = {f"{name}_curve": curve for name in ("loss", "train_acc", "val_acc")}
    arrays |= {"test_acc": 50, "weights": np.zeros((32, 1024))}
    write_arrays(run, out, arrays, data_sha256)
