"""What is made of the records of finished trainings: their averages, and how they are called."""

from argparse import Namespace
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np

from files import UserError
from records import Record, Run, check_none_left_out, find_record, read_record


class StillTraining(Exception):
    """Other processes have not finished their share; the last one of all goes on from here."""


def find_finished(
    plans: dict[Hashable, list[Run]], required: Sequence[Hashable], options: Namespace
) -> dict[Hashable, list[Record]]:
    """The records of every plan whose runs are all recorded.

    Plans that are not `required` are left out if they have another definition. With --plot-only
    nothing is required but one finished plan, or the one of --arch. Raises UserError if trainings
    on different data would be mixed, and if something is missing; StillTraining in the latter case
    if another process may be at it.
    """
    finished = {}
    for name, runs in plans.items():
        try:
            check_none_left_out(runs, options.out)
            records = [find_record(run, options.out) for run in runs]
        except UserError:
            if name in required:
                raise
            continue
        if all(records):
            _check_lengths(records)
            finished[name] = records
    missing = [
        run
        for name in required if name not in finished
        for run in plans[name] if not run.path(options.out).exists()
    ]  # fmt: skip
    if missing and not (options.plot_only and finished and not options.arch):
        if options.world_size > 1 and not options.plot_only:
            raise StillTraining(f"other processes still train {missing[0].variant}")
        path = missing[0].path(options.out)
        raise UserError(f"{path}: not recorded yet; train it, without --plot-only")
    checksums = {r.config["data_sha256"]: r.path for rs in finished.values() for r in rs}
    if len(checksums) > 1:
        one, other, *_ = checksums.values()
        raise UserError(f"{one}: trained on other data than {other}; choose a folder with --out")
    return finished


def _check_lengths(records: Sequence[Record]) -> None:
    """Raise UserError unless all curves are equally long, as those of one definition are."""
    few, many = (f(records, key=lambda r: r["loss_curve"].size) for f in (min, max))
    if few["loss_curve"].size < many["loss_curve"].size:
        raise UserError(
            f"{few.path}: {few['loss_curve'].size} points, fewer than in {many.path}; "
            "move it away to have it trained again"
        )


def read_adam_records(architecture: str, data_sha256: str, out: Path) -> list[Record]:
    """What part 3 has recorded of an architecture on the same data."""
    try:
        paths = sorted((out / "runs" / "part3" / architecture).glob("run_*.npz"))
        records = [read_record(path) for path in paths]
    except ValueError as error:
        raise UserError(f"{out}: damaged records of part 3 ({error}); run part 3 again") from error
    return [record for record in records if record.config["data_sha256"] == data_sha256]


def label(name: str, options: Namespace) -> str:
    """`name` as it appears in dictionaries and figures, with what is not the assignment's own."""
    kinds = ["synthetic"] * (options.dataset == "synthetic") + ["quick"] * options.quick
    kinds += ["unscaled"] * getattr(options, "unscaled", False)
    return f"{name} ({', '.join(kinds)})" if kinds else name


def mean_curve(records: Sequence[Record], name: str) -> list[float]:
    """The mean of a curve over `records`, as the dictionaries of results want it."""
    return np.mean([record[name] for record in records], axis=0, dtype=np.float64).tolist()


def epoch_means(curve: np.ndarray, epochs: int) -> np.ndarray:
    """The mean of a curve (..., points) over each of the epochs that it spans: (..., epochs).

    An epoch need not hold a whole number of points: every point is taken `epochs` times.
    """
    shape = (*np.shape(curve)[:-1], epochs, -1)
    return np.repeat(curve, epochs, axis=-1).reshape(shape).mean(axis=-1, dtype=np.float64)


def describe(records: Sequence[Record]) -> str:
    """Test accuracies in words: of one run the value, of several mean and standard deviation."""
    values = [record.test_acc for record in records]
    if len(values) == 1:
        return f"{values[0]:.2f} % (one run)"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} % ({len(values)} runs)"
