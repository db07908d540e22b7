"""Collect the numbers that the report quotes, as numbers; the .typ files format them.

What is not finite or not known is None in the end. Accuracies are in percent, their differences in
percentage points.
"""

import json
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from experiments.aggregate import epoch_means, final, plateau_epoch
from experiments.records import Record
from experiments.storage import UserError, read_npy
from report.parameters import PARAMETERS
from report.summary import (
    PART5_KINDS,
    Variants,
    accuracies,
    kind_of,
    mean_final,
    summarise,
    without_nan,
)

CNNS = [name for name in PARAMETERS if name.startswith("cnn")]
CHANCE = math.log(10)  # the cross-entropy of ten equal probabilities
LEFT = 0.1  # a run has left it in the first epoch whose mean loss is so much lower
LATE = 3  # epochs at the end over which a rise is measured
# By what factor a layer should multiply the norm of the gradient before training: slopes of root
# mean square sqrt(1/2) and 1/4, weights of variance 1 / (3 * inputs)
FACTORS = {"relu": math.sqrt(1 / 2) / math.sqrt(3), "sigmoid": 1 / 4 / math.sqrt(3)}


# ---- Comparisons


def paired(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Compare pairs of values.

    Returns the mean difference, its 95 % confidence interval (Student's t; NaN for one pair), and
    how many of the pairs differ in the same direction as the mean.
    """
    differences = np.subtract(one, other)
    mean = float(differences.mean()) if len(differences) else math.nan
    agree = int(np.sum(differences * mean > 0))
    found = {"mean": mean, "agree": agree, "pairs": len(differences)}
    return found | interval(stats.ttest_1samp, differences, popmean=0)


def unpaired(one: Sequence[float], other: Sequence[float]) -> dict[str, Any]:
    """Compare the means of two samples: the difference and its 95 % interval (Welch's t)."""
    mean = float(np.mean(one) - np.mean(other))
    return {"mean": mean} | interval(stats.ttest_ind, one, other, equal_var=False)


def interval(test: Callable, *samples: Sequence[float], **options: Any) -> dict[str, float]:
    """Return the 95 % confidence interval of a t test of scipy.stats, NaN for single values."""
    if min(map(len, samples)) < 2:
        return {"low": math.nan, "high": math.nan}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are all equal
        limits = test(*samples, **options).confidence_interval(0.95)
    return {"low": float(limits.low), "high": float(limits.high)}


def by_seed(
    one: Sequence[Record], other: Sequence[Record], value: Callable[[Record], float]
) -> dict[str, Any]:
    """Compare `value` between runs of equal seeds. See `paired`."""
    first, second = ({r.config["seed"]: value(r) for r in of_runs} for of_runs in (one, other))
    seeds = [seed for seed in first if seed in second]
    return paired([first[seed] for seed in seeds], [second[seed] for seed in seeds])


def test_accuracies(of_runs: Sequence[Record]) -> list[float]:
    """Return the test accuracy of each run."""
    return [record.test_acc for record in of_runs]


# ---- Curves


def by_epoch(record: Record, curve: str = "val_acc_curve") -> np.ndarray:
    """Return the mean of a run's curve over each epoch: (epochs,)."""
    return epoch_means(record[curve], record.config["epochs"])


def mean_by_epoch(of_runs: Sequence[Record], curve: str = "val_acc_curve") -> np.ndarray:
    """Return the mean over the runs of `by_epoch`: (epochs,)."""
    return np.mean([by_epoch(record, curve) for record in of_runs], axis=0)


def value_at(epoch: int, values: np.ndarray) -> float:
    """Return the value of an epoch, counted from 1 (0 is the last one); NaN if there is none."""
    return float(values[epoch - 1]) if epoch <= len(values) else math.nan


def first_epoch(reached: np.ndarray) -> float:
    """Return the first epoch, from 1, for which `reached` (epochs,) is true, or NaN."""
    return float(np.argmax(reached)) + 1 if reached.any() else math.nan


def epochs_until(level: float, values: np.ndarray) -> float:
    """Return the time in epochs when means over epochs first reach `level`, or NaN.

    The mean over an epoch stands at the epoch's middle; between two of them it is interpolated.
    """
    first = first_epoch(values >= level)
    if not first > 1:  # the first one, or NaN
        return first - 0.5
    k = int(first) - 1
    return k - 0.5 + float((level - values[k - 1]) / (values[k] - values[k - 1]))


def speed(fast: np.ndarray, slow: np.ndarray) -> float:
    """Return how many times sooner `fast` reaches the last value of `slow`."""
    return (len(slow) - 0.5) / epochs_until(float(slow[-1]), fast)


def late_rise(values: np.ndarray, epochs: int = LATE) -> float:
    """Return how far the last epoch's value is above that of `epochs` before, or the first one."""
    return float(values[-1] - values[-1 - min(epochs, len(values) - 1)])


def scatter(record: Record, epoch: int) -> float:
    """Return the deviation of the validation accuracy about its trend within an epoch, from 1."""
    points = np.array_split(record["val_acc_curve"].astype(np.float64), record.config["epochs"])
    if not 1 <= epoch <= len(points) or len(points[epoch - 1]) < 3:
        return math.nan
    steps = np.arange(len(points[epoch - 1]))
    trend = np.polyval(np.polyfit(steps, points[epoch - 1], 1), steps)
    return float((points[epoch - 1] - trend).std())


def gap_at(train_acc: float, of_runs: Sequence[Record]) -> float:
    """Return the mean gap, interpolated between epochs, where training accuracy was `train_acc`."""
    curves = [(by_epoch(r, "train_acc_curve"), by_epoch(r)) for r in of_runs]
    return float(np.mean([np.interp(train_acc, train, train - val) for train, val in curves]))


# ---- The parts


def read_json(path: Path) -> dict:
    """Read a JSON object. Raises UserError if there is none."""
    try:
        return {**json.loads(path.read_text(encoding="utf-8"))}
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: no JSON object; make it anew with part2_conv.py") from error


def part2_facts(results: Path) -> dict:
    """Return what part 2 wrote down, and the means of the maps (images, kernels)."""
    out = read_npy(results / "part2_out.npy", "make it anew with part2_conv.py").astype(np.float64)
    return read_json(results / "part2.json") | {
        "images": out.shape[0],
        "kernels": out.shape[1],
        "means": out.mean((2, 3)).tolist(),
    }


def part3_facts(rows: dict[str, dict], variants: Variants) -> dict:
    """Compare the architectures."""
    by_val = sorted(rows, key=lambda name: -rows[name]["val_acc_final"])
    best, second = (final(variants[name], "val_acc_curve") for name in by_val[:2])
    return {
        "pick": by_val[0],
        "lead": unpaired(best, second),
        "versus": {  # test accuracies
            a: {
                b: unpaired(test_accuracies(variants[a]), test_accuracies(variants[b]))
                for b in rows
                if b != a
            }
            for a in rows
        },
        "late_rise": {name: late_rise(mean_by_epoch(variants[name])) for name in rows},
        "late_train_rise": {
            name: late_rise(mean_by_epoch(variants[name], "train_acc_curve")) for name in rows
        },
        "gap_at_cnn_5": {
            name: gap_at(rows["cnn_5"]["train_acc_final"], variants[name])
            for name in ("cnn_3", "cnn_4")
        },
    }


def leaving(variants: Variants) -> dict[str, list[float]]:
    """Return by variant the epoch in which each run leaves ln 10, or NaN."""
    return {
        variant: [first_epoch(by_epoch(r, "loss_curve") <= CHANCE - LEFT) for r in of_runs]
        for variant, of_runs in variants.items()
    }


def falls(variants: Variants) -> dict[str, dict]:
    """Return by activation the ratio of the gradients of cnn_3 and cnn_5.

    "first": at the first recorded point, "last": in the last epoch, of the means over the runs;
    "runs": the smallest and the largest of "first", run by run.
    """
    found = {}
    for activation in ("relu", "sigmoid"):
        few, many = (  # (runs, 2): the first point, the last epoch
            np.array([(r["grad_curve"][0], by_epoch(r, "grad_curve")[-1]) for r in of_runs])
            for of_runs in (variants[f"{name}_{activation}"] for name in (CNNS[0], CNNS[-1]))
        )
        pairs = min(len(few), len(many))
        with np.errstate(all="ignore"):  # a gradient may be zero
            first, last = few.mean(axis=0) / many.mean(axis=0)
            runs = few[:pairs, 0] / many[:pairs, 0]
        found[activation] = {"first": float(first), "last": float(last),
                             "runs": [float(runs.min()), float(runs.max())]}  # fmt: skip
    return found


def dead_runs(variants: Variants) -> dict[str, int]:
    """Return by variant in how many runs the ReLUs died.

    The gradient is then exactly zero at nine of ten points of the last epoch, or more.
    """
    return {
        variant: sum(
            bool(epoch_means(record["grad_curve"] == 0, record.config["epochs"])[-1] >= 0.9)
            for record in of_runs
        )
        for variant, of_runs in variants.items()
    }


def factors_off(start: dict) -> float:
    """Return the largest ratio, 1 or more, between a measured factor and that in FACTORS."""
    ratios = [
        factor / FACTORS[activation]
        for of_activations in start.values()
        for activation, of in of_activations.items()
        for factor in of["factors"]
    ]
    return max(max(ratio, 1 / ratio) for ratio in ratios)


def reported_architecture(parts: dict[str, Variants]) -> str | None:
    """Return the architecture of part 5 that the report is about, or None.

    It is trained in all kinds, and it is the best of such ones by validation accuracy in part 3.
    """
    kinds: dict[str, set[str]] = {}
    for variant, of_runs in parts["part5"].items():
        config = of_runs[0].config
        kinds.setdefault(config["architecture"], set()).add(kind_of(variant, config))

    def quality(name: str) -> float:
        return mean_final(parts["part3"][name], "val_acc_curve") if name in parts["part3"] else 0

    needed = set(PART5_KINDS) - {"0.01 long"}
    whole = [name for name, of_name in kinds.items() if of_name >= needed]
    return max(whole, key=quality, default=None)


def runs_of_part5(architecture: str, variants: Variants) -> dict[str, list[Record]]:
    """Return the records of an architecture by kind: "0.1", "one drop", "Adam".

    Of several schedules with two drops the first counts, and the one-drop schedule with the same
    first drop.
    """
    kinds = [
        (kind_of(variant, of_runs[0].config), of_runs)
        for variant, of_runs in variants.items()
        if of_runs[0].config["architecture"] == architecture
    ]
    found = dict(reversed(kinds))
    first_drop = found["two drops"][0].config["drop_epochs"][:1]
    return found | {
        kind: of_runs
        for kind, of_runs in kinds
        if kind == "one drop" and of_runs[0].config["drop_epochs"] == first_drop
    }


def part5_facts(runs: dict[str, list[Record]], adam_of_part3: list[Record]) -> dict:
    """Return how fast, how steady and how good the kinds of part 5 are."""
    val = {kind: mean_by_epoch(of_runs) for kind, of_runs in runs.items()}
    drop, second_drop = runs["two drops"][0].config["drop_epochs"]
    last, end = len(val["0.1"]), len(val["two drops"])  # epochs of the constant rates, schedules
    read_off = [  # of every run, for the two drops
        [plateau_epoch(r["val_acc_curve"], r.config["epochs"], after) for r in runs[kind]]
        for kind, after in (("0.1", 0), ("one drop", drop))
    ]

    def gap(record: Record) -> float:
        return float(by_epoch(record, "train_acc_curve")[-1] - by_epoch(record)[-1])

    def compare(one: str, other: str, epoch: int | None = None) -> dict[str, Any]:
        """Compare the accuracies of two kinds, in an epoch or else at the end of each."""
        at = epoch or 0  # 0 - 1 is the last one
        val_acc = by_seed(runs[one], runs[other], lambda record: value_at(at, by_epoch(record)))
        test = by_seed(runs[one], runs[other], lambda record: record.test_acc)
        return {"validation": val_acc, "test": None if epoch else test}

    comparisons = {
        "first drop": compare("one drop", "0.1", last),
        "second drop": compare("two drops", "one drop"),
        "Adam": compare("two drops", "Adam"),
        "Adam of 3.1": {
            "validation": unpaired(
                *(final(r, "val_acc_curve") for r in (runs["two drops"], adam_of_part3))
            ),
            "test": unpaired(test_accuracies(runs["two drops"]), test_accuracies(adam_of_part3)),
        },
    }
    if "0.01 long" in runs:
        comparisons["long"] = compare("0.01 long", "0.1")
        comparisons["long against schedule"] = compare("0.01 long", "two drops")
    common = min(end, len(val["Adam"]))
    lead = val["two drops"][:common] - val["Adam"][:common]
    faster = (("0.1", "0.01"), ("0.01", "0.001"))
    return {
        "rows": {
            kind: accuracies(runs[kind])
            | {key: mean_final(runs[kind], f"{key}_curve") for key in ("train_acc", "val_acc")}
            | {"drop_epochs": runs[kind][0].config["drop_epochs"]}
            for kind in PART5_KINDS
            if kind in runs
        },
        "drops": [drop, second_drop],
        "read_off": read_off,
        "comparisons": comparisons,
        "jump": compare("one drop", "0.1", drop + 1)["validation"],
        "train_acc_after": value_at(last, mean_by_epoch(runs["one drop"], "train_acc_curve")),
        "gap_change": by_seed(runs["two drops"], runs["one drop"], gap),
        "scatter": {
            kind: [scatter(record, drop + 1) for record in runs[kind]]
            for kind in ("0.1", "one drop")
        },
        "speed": {slow: speed(val[fast], val[slow]) for fast, slow in faster},
        "same_order": all(
            min(final(runs[fast], "val_acc_curve")) > max(final(runs[slow], "val_acc_curve"))
            for fast, slow in faster
        ),
        "late_rise": {kind: value_at(end, val[kind]) - value_at(last, val[kind])
                      for kind in ("two drops", "Adam")},
        "long_peak": int(np.argmax(val["0.01 long"])) + 1 if "0.01 long" in val else None,
        "adam_ahead_until": first_epoch(lead >= 0) - 1,
        "lowest_lead": float(lead[int(np.argmax(lead >= 0)) : drop].min(initial=math.inf)),
        "passes_adam": first_epoch(val["two drops"] >= val["Adam"][-1]),
    }  # fmt: skip


def made_facts(of_runs: Sequence[Record]) -> dict:
    """Return where and with what the runs were made."""

    def all_of(key: str) -> list[str]:
        return sorted({str(r.environment.get(key, "unknown")).partition("+")[0] for r in of_runs})

    return {key: all_of(key) for key in ("torch", "device")}


def collect(parts: dict[str, Variants], measured: dict, results: Path) -> dict:
    """Return all of the above, as the .typ files read it.

    parts: all records, from `records.read_parts`; measured: from `measure.measurements`.
    """
    summary = summarise(parts)
    architecture = reported_architecture(parts)
    config = next(iter(parts["part3"].values()))[0].config
    runs5 = runs_of_part5(architecture, parts["part5"])
    part4 = {
        part: {
            "rows": summary[part],
            "leaving": leaving(variants),
            "falls": falls(variants),
            "dead": dead_runs(variants),
        }
        for part, variants in parts.items()
        if part.startswith("part4") and variants
    }
    return without_nan({
        "dataset": config["dataset"],
        "quick": config["quick"],
        "data_sha256": config["data_sha256"],
        "names": list(PARAMETERS),
        "formula": PARAMETERS,
        "part2": part2_facts(results),
        "part3": {"rows": summary["part3"], **part3_facts(summary["part3"], parts["part3"])},
        "made": made_facts([r for v in parts.values() for of_runs in v.values() for r in of_runs]),
        **part4,
        "measured": measured,
        "factors_off": factors_off(measured["start"]),
        "part5": {"architecture": architecture, **part5_facts(runs5, parts["part3"][architecture])},
    })  # fmt: skip
