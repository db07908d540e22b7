"""Aggregate finished runs: means over runs and epochs, and the plateau rule of part 5."""

from collections.abc import Sequence

import numpy as np

from experiments.records import Record

# The accuracy stops increasing after the first epoch e with
# max(a[e + 1], ..., a[e + PATIENCE]) <= a[e] + MIN_GAIN, where a[e] is the mean validation accuracy
# of epoch e in percent. Half a percentage point is 25 of 5,000 images, a little less than the
# standard error of one measurement.
PATIENCE, MIN_GAIN = 3, 0.5


def label(name: str, record: Record) -> str:
    """Return `name` with a suffix for non-default settings, such as "cnn_3 (synthetic, quick)"."""
    config = record.config
    kinds = ["synthetic"] * (config["dataset"] == "synthetic") + ["quick"] * config["quick"]
    kinds += filter(None, [config["part"].partition("_")[2]])  # "unscaled" of "part4_unscaled"
    return f"{name} ({', '.join(kinds)})" if kinds else name


def mean_curve(records: Sequence[Record], name: str) -> list[float]:
    """Return the point-wise mean of curve `name` over `records` as a list of floats."""
    curves = np.stack([record[name] for record in records])
    return curves.mean(axis=0, dtype=np.float64).tolist()


def epoch_means(curve: np.ndarray, epochs: int) -> np.ndarray:
    """Return the mean of a curve (..., points) over each of its epochs: (..., epochs).

    An epoch need not hold a whole number of points: every point is taken `epochs` times.
    """
    shape = (*np.shape(curve)[:-1], epochs, -1)
    return np.repeat(curve, epochs, axis=-1).reshape(shape).mean(axis=-1, dtype=np.float64)


def plateau_epoch(val_acc_curve: np.ndarray, epochs: int, after: int = 0) -> int:
    """Return the first epoch later than `after` after which the accuracy does not increase.

    Epochs are counted from 1. See PATIENCE for the rule. Returns `epochs`, the number of epochs of
    the curve, if the accuracy is still increasing at the end.
    """
    by_epoch = epoch_means(val_acc_curve, epochs)
    for epoch in range(after + 1, epochs - PATIENCE + 1):
        if by_epoch[epoch : epoch + PATIENCE].max() <= by_epoch[epoch - 1] + MIN_GAIN:
            return epoch
    return epochs


def final(records: Sequence[Record], curve: str) -> np.ndarray:
    """Return the mean over the last epoch of a curve for each of `records`: (runs,)."""
    return np.array([epoch_means(r[curve], r.config["epochs"])[-1] for r in records])


def describe(records: Sequence[Record]) -> str:
    """Return the test accuracies in words: mean and standard deviation, or the value of one run."""
    values = [record.test_acc for record in records]
    if not values:
        return "not recorded"
    if len(values) == 1:
        return f"{values[0]:.2f} % (one run)"
    return f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f} % ({len(values)} runs)"
