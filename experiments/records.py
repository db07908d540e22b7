"""A record: one finished run, stored as one .npz file.

results/runs/part3/cnn_3/run_07.npz      curves (float32), test_acc, weights,
                                         config and environment (JSON strings)

`config` is the run's definition. A record with another definition is never overwritten and never
averaged in.
"""

import contextlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from experiments.config import RunConfig
from experiments.storage import UserError, first_line, saved, write_atomically


class DamagedRecord(UserError):
    """Raised for a file that is not a whole record."""


@dataclass(frozen=True)
class Record:
    """A finished run."""

    path: Path
    config: dict  # from RunConfig.definition
    environment: dict  # where and how it was trained
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def test_acc(self) -> float:
        """The test accuracy in percent, without the noise of single precision."""
        return round(float(self.arrays["test_acc"]), 4)


def check(arrays: dict[str, np.ndarray]) -> None:
    """Raise ValueError unless there are `test_acc`, `weights`, and curves of one length."""
    lengths = {array.size for name, array in arrays.items() if name.endswith("_curve")}
    if not {"loss_curve", "test_acc", "weights"} <= set(arrays) or len(lengths) > 1 or 0 in lengths:
        raise ValueError(f"it holds { {name: array.shape for name, array in arrays.items()} }")


def record_path(config: RunConfig, out: Path) -> Path:
    """Return where the record of `config` is stored below `out`."""
    return out / "runs" / config.part / config.variant / f"run_{config.index:02d}.npz"


def save(path: Path, arrays: dict[str, np.ndarray], definition: dict, environment: dict) -> None:
    """Write a record. Raises ValueError if `load` would not read it."""
    check(arrays)
    texts = {"config": definition, "environment": environment}
    content = arrays | {name: np.array(json.dumps(text)) for name, text in texts.items()}
    write_atomically(path, saved(np.savez, **content))


def load(path: Path) -> Record:
    """Read a record.

    Raises OSError if it cannot be read, and DamagedRecord if it is not whole.
    """
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
        config, environment = (json.loads(str(arrays.pop(k))) for k in ("config", "environment"))
        check(arrays)
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged bytes
        raise DamagedRecord(f"{path}: damaged ({first_line(error)}); move it away") from error
    return Record(path, config, environment, arrays)


def find(config: RunConfig, out: Path, data_sha256: str) -> Record | None:
    """Return the record of `config` below `out`, or None if there is none.

    A damaged record is moved aside and counts as none. Raises UserError if the record has another
    definition.
    """
    path, wanted = record_path(config, out), config.definition(data_sha256)
    try:
        record = load(path)
    except FileNotFoundError:
        return None
    except DamagedRecord as error:
        aside = path.with_suffix(".damaged")
        with contextlib.suppress(FileNotFoundError):  # another process may have moved it
            path.replace(aside)
        print(f"{str(error).rpartition(';')[0]}; moved to {aside.name}")
        return None
    for key in (*wanted, *record.config):
        if (difference := _difference(record.config.get(key), wanted.get(key))) is not None:
            raise UserError(
                f"{path}: recorded with another definition: {key} was {difference[0]}, now it is "
                f"{difference[1]}; use the recorded value, or choose another folder with --out"
            )
    return record


def _difference(recorded, wanted) -> tuple | None:
    """Return the values if they differ; of two lists the first items that do."""
    if isinstance(recorded, list) and isinstance(wanted, list):
        return next(((a, b) for a, b in zip_longest(recorded, wanted) if a != b), None)
    return (recorded, wanted) if recorded != wanted else None


def read(out: Path | str, part: str) -> dict[str, list[Record]]:
    """Return all records of a part below `out`, by variant, the runs in order. See `read_parts`."""
    return read_parts(out, [part])[part]


def read_parts(out: Path | str, parts: Sequence[str]) -> dict[str, dict[str, list[Record]]]:
    """Return all records of `parts` below `out`, by part and variant, the runs in order.

    Raises UserError if runs of a variant have different definitions or lengths or if records are of
    different data, and what `load` raises.
    """
    found: dict[str, dict[str, list[Record]]] = {part: {} for part in parts}
    for part, variants in found.items():
        paths = [
            path for path in Path(out).glob(f"runs/{part}/*/run_*.npz")
            if path.stem.removeprefix("run_").isdecimal()  # and no "run_00 (copy).npz"
        ]  # fmt: skip
        for path in sorted(paths, key=lambda path: (path.parent, int(path.stem[4:]))):
            variants.setdefault(path.parent.name, []).append(load(path))
    first = None
    for records in (records for variants in found.values() for records in variants.values()):
        check_alike(records)
        first = first or records[0]
        if records[0].config.get("data_sha256") != first.config.get("data_sha256"):
            raise UserError(f"{records[0].path}: trained on other data than {first.path}")
    return found


def check_alike(records: Sequence[Record]) -> None:
    """Raise UserError unless `records` are runs of one variant, which differ in their seed only."""
    first = records[0]
    for record in records:
        if record.config | {"seed": 0} != first.config | {"seed": 0}:
            raise UserError(f"{record.path}: another definition than {first.path}; move one away")
        if record["loss_curve"].size != first["loss_curve"].size:
            raise UserError(f"{record.path}: another length than {first.path}; "
                            "move one away")  # fmt: skip
