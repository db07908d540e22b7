"""A record: one finished run, stored as one .npz file.

    results/runs/part3/cnn_3/run_07.npz      curves (float32), test_acc, weights,
                                             config and environment (JSON strings)

`config` holds all that defines the result. A record with another definition is never overwritten
and never averaged in.
"""

import json
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from experiments.config import ADDED_LATER, KEYS, RunConfig
from experiments.storage import UserError, npz_bytes, read_npz, reason, write_atomically

import numpy as np

MAX_BYTES = 50_000_000
Key = TypeVar("Key", bound=Hashable)


class DamagedRecord(UserError):
    """Raised for a file that is not a whole record."""


@dataclass(frozen=True)
class Record:
    """A finished run."""

    path: Path
    config: dict  # RunConfig.definition
    environment: dict  # where and how it was trained
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def test_acc(self) -> float:
        """The test accuracy in percent, without the noise of single precision."""
        return round(float(self.arrays["test_acc"]), 4)


def record_path(config: RunConfig, out: Path) -> Path:
    """Return where the record of `config` is stored below `out`."""
    return out / "runs" / config.part / config.variant / f"run_{config.index:02d}.npz"


def save(path: Path, arrays: dict[str, np.ndarray], definition: dict, environment: dict) -> None:
    """Write a record."""
    texts = {"config": definition, "environment": environment}
    content = arrays | {name: np.array(json.dumps(text)) for name, text in texts.items()}
    write_atomically(path, npz_bytes(content))


def load(path: Path) -> Record:
    """Read a record.

    Raises FileNotFoundError if there is none, DamagedRecord if it is not whole, and UserError if it
    cannot be read.
    """
    try:
        arrays = read_npz(path, MAX_BYTES)
        texts = [json.loads(str(arrays.pop(name, ""))) for name in ("config", "environment")]
        if not all(isinstance(text, dict) for text in texts):
            raise ValueError("no definition in it")
        config, environment = ADDED_LATER | texts[0], texts[1]
        if left_out := KEYS - config.keys():
            raise ValueError(f"no {min(left_out)} in its definition")
        _check(arrays, "grad_curve" if config["split_seed"] is None else "val_acc_curve")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)})") from error
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(
            f"{path}: damaged ({error}); move it away, or train it again, without --plot-only and "
            "with --runs above its number"
        ) from error
    return Record(path, config, environment, arrays)


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


def find(config: RunConfig, out: Path, data_sha256: str | None = None) -> Record | None:
    """Return the record of `config` below `out`, or None if there is none.

    Without `data_sha256` the record may be of any data. Raises UserError if the record has another
    definition, and DamagedRecord if it is not whole.
    """
    try:
        record = load(record_path(config, out))
    except FileNotFoundError:
        return None
    expected = config.definition(data_sha256 or record.config["data_sha256"])
    for key in sorted(expected.keys() | record.config.keys()):
        recorded, wanted = record.config.get(key), expected.get(key)
        if recorded != wanted:
            raise UserError(
                f"{record.path}: recorded with {key} {recorded}, now it is {wanted}; "
                "ask for what is recorded, or choose another folder with --out"
            )
    return record


def find_all(runs: Sequence[RunConfig], out: Path) -> list[Record]:
    """Return the records of `runs` and of all further runs beside them, in order.

    Runs without a record are left out. Raises as `find` does.
    """
    first = runs[0]
    recorded = _run_numbers(record_path(first, out).parent)
    further = [
        replace(first, index=r, seed=first.seed + r) for r in recorded if r >= len(runs)
    ]  # "at least" as many runs as asked for
    found = [find(config, out) for config in (*runs, *further)]
    return [record for record in found if record]


def _run_numbers(folder: Path) -> dict[int, Path]:
    """Return the records in a folder by the number of their run, in order."""
    numbered = [(path.stem.removeprefix("run_"), path) for path in folder.glob("run_*.npz")]
    return dict(sorted((int(number), path) for number, path in numbered if number.isdecimal()))


def load_results(
    plans: Mapping[Key, Sequence[RunConfig]], out: Path, required: Iterable[Key]
) -> dict[Key, list[Record]]:
    """Return the records of every plan whose runs are all recorded, including further runs.

    Plans that are not `required` are left out if they cannot be read or have another definition.
    Raises UserError if runs on different data would be mixed, and as `find` does.
    """
    required, results = set(required), {}
    for key, runs in plans.items():
        try:
            records = find_all(runs, out)
        except UserError:
            if key in required:
                raise
            continue
        if {record_path(config, out) for config in runs} <= {record.path for record in records}:
            _check_lengths(records)
            results[key] = records
    checksums = {r.config["data_sha256"]: r.path for records in results.values() for r in records}
    if len(checksums) > 1:
        one, other, *_ = checksums.values()
        raise UserError(f"{one}: trained on other data than {other}; choose a folder with --out")
    return results


def _check_lengths(records: Sequence[Record]) -> None:
    """Raise UserError unless all curves are equally long, as those of one definition are."""
    short, long = (f(records, key=lambda r: r["loss_curve"].size) for f in (min, max))
    if short["loss_curve"].size < long["loss_curve"].size:
        raise UserError(
            f"{short.path}: {short['loss_curve'].size} points, fewer than in {long.path}; "
            "move it away to have it trained again"
        )


def read_runs(out: Path, part: str, variant: str) -> list[Record]:
    """Return all records of a variant below `out`, in order.

    Raises UserError if they have different definitions or lengths, and as `load` does.
    """
    records = [load(path) for path in _run_numbers(out / "runs" / part / variant).values()]
    for record in records:
        if record.config | {"seed": 0} != records[0].config | {"seed": 0}:
            raise UserError(f"{record.path}: has another definition than {records[0].path}")
    if records:
        _check_lengths(records)
    return records


def read_variants(out: Path, part: str) -> dict[str, list[Record]]:
    """Return all records of a part, by the name of their folder. Raises as `read_runs` does."""
    names = sorted(folder.name for folder in (out / "runs" / part).glob("*"))
    variants = {name: read_runs(out, part, name) for name in names}
    return {name: records for name, records in variants.items() if records}
