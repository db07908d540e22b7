"""Collect the facts that the report quotes: the summary, its numbers as texts, comparisons."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from experiments.aggregate import epoch_means, final, plateau_epoch
from experiments.records import Record, read_variants
from experiments.storage import UserError, read_npy, reason

import numpy as np
import torch
from torch import nn

from data import CLASSES
from models import ARCHITECTURES, build, first_layer
from report.measure import (
    SPECIALIZED,
    adjacent_correlations,
    estimated_ratio,
    mean_correlation,
)
from report.parameters import PARAMETERS
from report.summary import KINDS, Variants, accuracy_text, deviation, number_text, without_nan

Sample = tuple[float, float | None, int]  # mean, standard deviation (None of a single run), size
MLPS = [name for name in ARCHITECTURES if name.startswith("mlp")]
CNNS = [name for name in ARCHITECTURES if name.startswith("cnn")]
CLEAR = 3  # standard errors from which a difference of means is called clear
# The 97.5th percentiles of Student's t distribution with 1 to 20 degrees of freedom
STUDENT = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
)  # fmt: skip
FORMATS = {
    "test_acc_mean": ".1f", "test_acc_best": ".2f", "train_acc_final": ".1f",
    "val_acc_final": ".1f", "val_acc_best": ".1f", "gap": ".1f", "parameters": ",",
    "loss_first": ".3f", "loss_last": ".3f", "grad_first": ".1e", "grad_last": ".1e",
}  # fmt: skip
CHANCE = math.log(10)  # the cross-entropy of ten equal probabilities
AT_CHANCE, LEFT = 0.01, 0.1  # a loss within 0.01 of ln 10 is at it; one 0.1 below has left it
LATE = 3  # epochs at the end over which a rise is measured
RATES, SCHEDULES = ("sgd_1", "sgd_01", "sgd_001"), ("two_drops", "one_drop")
CONTRASTED = ("automobile", "truck", "horse")
LEVELS = 1000  # validation accuracies at which speeds are compared
LOW_LEVEL = 18  # the lowest of them in percent: below, single runs are still on the plateau
SMALL = ("losses", "second_drop_gain", "late_rises", "late_gain")  # written with two decimals
SPEED_LEVEL = 60  # the validation accuracy in percent by whose first epoch speeds are compared


def with_texts(summary: dict | list | float) -> dict | list | float | None:
    """Return a copy of the summary in which each row has its numbers as `text`."""
    if not isinstance(summary, dict):
        return summary
    row = {key: with_texts(value) for key, value in summary.items()}
    text = {k: number_text(summary[k], form) for k, form in FORMATS.items() if k in summary}
    if "test_acc_mean" in summary:
        text["test_acc"] = accuracy_text(summary).replace(" ", "\N{NO-BREAK SPACE}")
    return row | {"text": text} if text else row


def compare(one: dict, other: dict) -> dict:
    """Compare two means of test accuracies, in percentage points and in standard errors.

    A single run has no deviation, so that nothing about it is clear.
    """
    difference = one["test_acc_mean"] - other["test_acc_mean"]
    samples = ((r["test_acc_mean"], r["test_acc_std"], r["runs"]) for r in (one, other))
    errors = standard_errors(*samples)
    return {
        "difference": f"{abs(difference):.2f}",
        "errors": f"{errors:.1f}",
        "clear": errors >= CLEAR,
    }


def sample(values: Sequence[float]) -> Sample:
    """Return mean, standard deviation and size of a sample."""
    return float(np.mean(values)), deviation(values), len(values)


def student(freedom: float) -> float:
    """Return the 97.5th percentile of Student's t distribution. From 20 on it is that of 20."""
    return float(np.interp(freedom, np.arange(1, len(STUDENT) + 1), STUDENT))


def half_width(values: Sequence[float]) -> float:
    """Return half the width of the 95 % confidence interval of a mean, inf for a single value."""
    std, size = deviation(values), len(values)
    return math.inf if std is None else student(size - 1) * std / math.sqrt(size)


def welch_width(one: Sample, other: Sample) -> float:
    """Return half the width of the 95 % confidence interval of a difference of two means.

    The samples may have different deviations (Welch, 1947). It is inf for a single value.
    """
    if one[1] is None or other[1] is None:
        return math.inf
    variances = [(std**2 / size, size - 1) for _, std, size in (one, other)]
    total = sum(variance for variance, _ in variances)
    if total == 0:
        return 0.0
    freedom = total**2 / sum(variance**2 / degrees for variance, degrees in variances)
    return student(freedom) * math.sqrt(total)


def standard_errors(one: Sample, other: Sample) -> float:
    """Return the difference of two means in its standard errors."""
    variances = [math.inf if std is None else std**2 / size for _, std, size in (one, other)]
    return abs(one[0] - other[0]) / max(math.sqrt(sum(variances)), 1e-9)


def final_gaps(records: Sequence[Record]) -> np.ndarray:
    """Return training minus validation accuracy in the last epoch of each run: (runs,)."""
    return final(records, "train_acc_curve") - final(records, "val_acc_curve")


def gap_groups(order: Sequence[str], variants: Variants) -> list[list[str]]:
    """Return `order`, by the gap of the last epoch, cut where neighbours differ clearly."""
    gaps = [sample(final_gaps(variants[name])) for name in order]
    groups = [[order[0]]]
    for name, neighbours in zip(order[1:], pairwise(gaps), strict=True):
        if standard_errors(*neighbours) >= CLEAR:
            groups.append([])
        groups[-1].append(name)
    return groups


def neighbour_correlation(weights: np.ndarray) -> float:
    """Return the correlation of adjacent weights of a unit, averaged over the units."""
    size = 32 if weights.ndim == 2 else weights.shape[-1]
    return adjacent_correlations(weights.reshape(-1, size, size))["mean"]


def reported_architecture(summary: dict) -> str | None:
    """Return that architecture of part 5 which has the best final validation accuracy in part 3."""
    part3 = summary["part3"]
    candidates = [name for name in summary.get("part5", {}) if name in part3]
    return max(candidates, key=lambda name: part3[name]["val_acc_final"], default=None)


def read_json(path: Path, command: str) -> dict:
    """Read a JSON object. Raises UserError, which names the command that makes the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict):
            return value
        problem = "no JSON object"
    except OSError as error:
        problem = reason(error)
    except ValueError as error:
        problem = str(error)
    raise UserError(f"{path}: cannot be read ({problem}); make it with: {command}")


def part2_facts(results: Path) -> dict:
    """Return what part 2 wrote down, and the means of the maps (images, kernels)."""
    make = f"python part2_conv.py --out {results}"
    out = read_npy(results / "part2_out.npy", make)
    files = read_json(results / "part2.json", make)
    maps = out.reshape(*out.shape[:2], -1)
    alike = {
        "columns": np.mean([mean_correlation(column) for column in maps.swapaxes(0, 1)]),
        "rows": np.mean([mean_correlation(row) for row in maps]),
    }
    return {
        "alike": {name: number_text(float(value), ".2f") for name, value in alike.items()},
        "images": out.shape[0],
        "kernels": out.shape[1],
        "means": without_nan(out.mean((2, 3)).tolist()),
        "files": files,
        "difference": number_text(files["largest_difference"], ".1e"),
    }


def made_facts(records: Sequence[Record]) -> dict:
    """Return where and with what the records were made, as far as they say so."""

    def all_of(key: str) -> str:
        values = {str(r.environment.get(key, "unknown")).partition("+")[0] for r in records}
        return " and ".join(sorted(values))

    device = all_of("device")
    return {
        "torch": all_of("torch"),
        "device": {"cpu": "a CPU", "unknown": "an unknown device"}.get(device, device),
        "threads": all_of("threads"),
    }


def percent(share: float) -> str:
    """Return a share in percent."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def measured_facts(results: Path, data_sha256: str) -> dict:
    """Return the measurements of report.measure, their numbers as texts."""
    path, make = results / "measurements.json", f"python -m report.measure --out {results}"
    measured = read_json(path, make)
    if measured["data_sha256"] != data_sha256:
        raise UserError(f"{path}: measured on other data than the runs; make it with: {make}")
    units = {n: percent(u["share_either_way"]) for n, u in measured["units"].items()}
    by_magnitude = measured["units_by_magnitude"].values()
    units |= {
        "highest": f"{max(u['highest'] for u in measured['units'].values()):.2f}",
        "level": f"{SPECIALIZED:.1f}",
        "alike": f"{np.mean([measured['units'][name]['alike'] for name in CNNS]):.2f}",
        "by_magnitude": [percent(u["share_either_way"]) for u in by_magnitude],
        "highest_by_magnitude": f"{max(u['highest'] for u in by_magnitude):.2f}",
        "alike_by_magnitude": f"{np.mean([u['alike'] for u in by_magnitude]):.2f}",
        "others_by_magnitude": sum(
            count
            for u in by_magnitude
            for label, count in zip(CLASSES, u["best_classes"], strict=True)
            if label not in CONTRASTED
        ),
        "kernels": sum(sum(u["best_classes"]) for u in by_magnitude),
        "contrast": [f"{measured['contrast'][CLASSES.index(c)]:.2f}" for c in CONTRASTED],
    }
    kernels = {
        name: {
            way: {
                "measured": number_text(k["measured"], "+.2f"),
                "null": number_text(k["null_mean"], ".2f") + f" ± {k['null_deviation']:.2f}",
            }
            for way, k in ways.items()
        }
        for name, ways in measured["kernels"].items()
    }
    start = {
        name: {
            "ratio": f"{ratio['mean']:.3g}",
            "deviation": f"{ratio['deviation']:.2f}",
            "estimate": f"{estimated_ratio(name):.3g}",
        }
        for name, ratio in measured["start"]["ratio"].items()
    }
    off = {
        n: max(r["mean"] / estimated_ratio(n), estimated_ratio(n) / r["mean"])
        for n, r in measured["start"]["ratio"].items()
    }
    start["off"] = f"{max(off.values()):.1f}"
    start["seeds"] = measured["start"]["seeds"]
    few, many = (
        {
            a: np.exp(np.mean(np.log(norms)))
            for a, norms in measured["start"]["gradients"][n].items()
        }
        for n in (CNNS[0], CNNS[-1])
    )
    start["fall"] = {a: f"{few[a] / many[a]:,.0f}" for a in few}
    start["slopes"] = f"{few['sigmoid'] / many['sigmoid'] / (few['relu'] / many['relu']):.0f}"
    training = {
        a: {way: [f"{values[k]:.2f}" for k in (0, 1, -1)] for way, values in norms.items()}
        | {
            "later": [f"{f(norms['all_images'][1:]):.2f}" for f in (min, max)],
            "first_factor": f"{norms['batch'][0] / norms['all_images'][0]:.1f}",
            "last_factor": f"{norms['batch'][-1] / norms['all_images'][-1]:.0f}",
            "factor": [
                f"{f(np.divide(norms['batch'][1:], norms['all_images'][1:])):.0f}"
                for f in (np.min, np.max)
            ],
        }
        for a, norms in measured["training"].items()
    }
    unscaled, pixels = measured["unscaled"], measured["pixels"]
    return {
        "units": units, "kernels": kernels, "start": start, "off": off, "training": training,
        "signal": {a: [f"{values[k]:.0e}" for k in (0, -1)]
                   for a, values in measured["signal"].items()},
        "unscaled": {"step": unscaled["step"], "weight": number_text(unscaled["weight"], ".0e")},
        "pixels": {"scaled": f"{pixels['scaled']:.2f}", "unscaled": f"{pixels['unscaled']:.0f}",
                   "factor": f"{pixels['unscaled'] / pixels['scaled']:.0f}"},
        "numbers": measured,
    }  # fmt: skip


def gap_at(train_acc: float, records: Sequence[Record]) -> dict[str, Any]:
    """Return the gap, interpolated between epochs, where the training accuracy was `train_acc`."""
    gaps = []
    for record in records:
        train, val = (mean_by_epoch([record], f"{kind}_acc_curve") for kind in ("train", "val"))
        gaps.append(np.interp(train_acc, train, train - val))
    error = (deviation(gaps) or 0) / math.sqrt(len(gaps))
    return {"mean": float(np.mean(gaps)), "text": f"{np.mean(gaps):.1f} ± {error:.1f}"}


def validation_lead(variants: Variants) -> dict[str, str]:
    """Compare the two best architectures by the validation accuracy of the last epoch."""
    samples = [sample(final(records, "val_acc_curve")) for records in variants.values()]
    best, second, *_ = sorted(samples, key=lambda of_runs: -of_runs[0])
    errors = standard_errors(best, second)
    return {"difference": f"{best[0] - second[0]:.1f}", "errors": f"{errors:.1f}"}


def part3_facts(rows: dict, variants: Variants) -> dict:
    """Order the architectures, compare all pairs, and look at the weights."""
    order = sorted(rows, key=lambda name: -rows[name]["test_acc_mean"])
    mean = {name: row["test_acc_mean"] for name, row in rows.items()}
    cnns, mlps = ([name for name in order if name in family] for family in (CNNS, MLPS))
    sizes = {name: row["parameters"] for name, row in rows.items()}
    size_factors = low_and_high(sizes[mlp] / sizes[cnn] for mlp in MLPS for cnn in CNNS)
    by_gap = sorted(rows, key=lambda name: rows[name]["gap"])
    neighbours = {
        name: np.mean([neighbour_correlation(record["weights"]) for record in records])
        for name, records in variants.items()
    }
    return {
        "order": order,
        "by_validation": sorted(rows, key=lambda name: -rows[name]["val_acc_final"]),
        "by_gap": by_gap,
        "gap_groups": gap_groups(by_gap, variants),
        "cnns_by_parameters": sorted(CNNS, key=lambda name: sizes[name]),
        "cnns_by_accuracy": cnns[::-1],
        "size_factors": [f"{factor:.1f}" for factor in size_factors],
        "mlp_2_has_more": f"{sizes['mlp_2'] - sizes['mlp_1']:,}",
        "cnn_range": f"{mean[cnns[0]] - mean[cnns[-1]]:.1f}",
        "family_gap": f"{mean[cnns[-1]] - mean[mlps[0]]:.1f}",
        "family_errors": compare(rows[cnns[-1]], rows[mlps[0]])["errors"],
        "validation_lead": validation_lead(variants),
        "compare": {a: {b: compare(rows[a], rows[b]) for b in rows if b != a} for a in rows},
        "minutes": {n: f"{row['seconds_per_run'] / 60:.1f}" for n, row in rows.items()},
        "cnn_val_min": f"{min(rows[name]['val_acc_final'] for name in CNNS):.1f}",
        "mlp_train_max": f"{max(rows[name]['train_acc_final'] for name in MLPS):.1f}",
        "late_rise": {name: f"{late_rise(mean_by_epoch(variants[name])):.1f}" for name in CNNS},
        "cnn_4_gap_at": {
            name: gap_at(rows[name]["train_acc_final"], variants["cnn_4"])
            for name in ("cnn_3", "cnn_5")
        },
        "neighbours": neighbours,
        "neighbours_text": {name: number_text(value, ".2f") for name, value in neighbours.items()},
    }  # fmt: skip


def part4_facts(summary: dict, by_part: dict[str, Variants]) -> dict:
    """Return how gradients fall with depth, which runs leave ln 10, and what unscaled inputs do."""
    part4, both = summary["part4"], ("relu", "sigmoid")
    # In the order of lists in the text
    rows = {n: {a: with_nan(part4[n][a]) for a in both} for n in ARCHITECTURES}
    variants, unscaled = by_part["part4"], summary["part4_unscaled"]
    leaves = epochs_of_leaving(variants)
    unmoved = [unmoved_weights(record) for record in variants["cnn_5_sigmoid"]]

    known = {
        "fall_range": {a: fall_range(variants, a, 0) for a in both},
        "fall_last_range": {a: fall_range(variants, a, -1) for a in both},
        "estimated_slopes": f"{estimated_ratio(CNNS[0]) / estimated_ratio(CNNS[-1]):.0f}",
        "fall": {a: two_digits(fall(part4, a, "grad_first")) for a in both},
        "fall_last": {a: two_digits(fall(part4, a, "grad_last")) for a in both},
        "leaves": leaves,
        "leaves_text": epochs_texts(leaves),
        "unmoved": unmoved[0],
        "unmoved_range": span([of_run["same"] for of_run in unmoved]),
        "made": made_facts([r for records in variants.values() for r in records]),
        "runs": runs_text(variants),
    }
    if unscaled:
        known |= unscaled_facts(rows, unscaled, by_part)
    if initialized := by_part["part4_initialized"]:
        known["leaves_initialized"] = epochs_of_leaving(initialized)
        known["leaves_initialized_text"] = epochs_texts(known["leaves_initialized"])
        known["runs_initialized"] = runs_text(initialized)
        known["fall_initialized"] = {
            a: f"{fall(summary['part4_initialized'], a, 'grad_first'):.0f}" for a in both
        }
    return known


def fall(rows: dict, activation: str, point: str) -> float:
    """Return by what factor the gradient falls from cnn_3 to cnn_5, inf if it is zero there."""
    few, many = (with_nan(rows[name][activation])[point] for name in (CNNS[0], CNNS[-1]))
    return few / many if many else math.inf


def epochs_of_leaving(variants: Variants) -> dict[str, dict[str, list[int | None]]]:
    """Return by activation and architecture the epoch in which each run leaves ln 10, or None."""
    leaves: dict = {"relu": {}, "sigmoid": {}}
    for variant, records in variants.items():
        name, _, activation = variant.rpartition("_")
        leaves[activation][name] = [epoch_below(CHANCE - LEFT, [r]) for r in records]
    return leaves


def epochs_texts(leaves: dict[str, dict[str, list[int | None]]]) -> dict[str, dict[str, str]]:
    """Return these epochs in words."""
    return {a: {n: epochs_text(epochs) for n, epochs in row.items()} for a, row in leaves.items()}


def fall_range(variants: Variants, activation: str, epoch: int) -> str:
    """Return by what factors the gradient falls from cnn_3 to cnn_5, run by run.

    epoch: 0 for the first recorded point, -1 for the mean over the last epoch.
    """
    few, many = (
        np.array([r["grad_curve"][0] for r in records])
        if epoch == 0
        else final(records, "grad_curve")
        for records in (variants[f"{name}_{activation}"] for name in (CNNS[0], CNNS[-1]))
    )
    factors = few[: len(many)] / many[: len(few)]
    return f"{two_digits(factors.min())} to {two_digits(factors.max())}"


def two_digits(factor: float) -> str:
    """Return a factor with two digits, for a few runs are worth no more."""
    rounded = float(f"{factor:.2g}")
    return f"{rounded:,.{0 if rounded > 10 else 1}f}"


def span(values: Sequence[int]) -> str:
    """Return the range of `values` in words."""
    return str(min(values)) + (f" to {max(values)}" if max(values) > min(values) else "")


def unscaled_facts(rows: dict, unscaled: dict, by_part: dict[str, Variants]) -> dict:
    """Return what inputs from 0 to 255 change, by architecture and activation."""
    unscaled = {n: {a: with_nan(r) for a, r in unscaled[n].items()} for n in ARCHITECTURES}
    relu = {n: row["relu"] for n, row in rows.items()}
    both = [(n, a) for n in unscaled for a in ("relu", "sigmoid")]
    change = {(n, a): unscaled[n][a]["loss_last"] - rows[n][a]["loss_last"] for n, a in both}
    variants = by_part["part4_unscaled"]
    scaled, raw = (  # the first gradients of the same seed, on the same batches
        np.array([by_part[part]["_".join(key)][0]["grad_curve"][0] for key in both])
        for part in ("part4", "part4_unscaled")
    )
    growth = raw[raw > 0] / scaled[raw > 0]
    sigmoids = {name: variants[f"{name}_sigmoid"][0] for name in MLPS}
    curves = {name: record["grad_curve"] for name, record in sigmoids.items()}
    epochs = sigmoids["mlp_1"].config["epochs"]
    return {
        "blown_up": [n for n in unscaled
                     if not unscaled[n]["relu"]["loss_first"] < 2 * relu[n]["loss_first"]],
        "dead": [n for n in unscaled
                 if not any(r["grad_curve"].any() for r in variants[f"{n}_relu"])],
        "stuck": [(n, a) for n, a in both
                  if all(abs(r[n][a]["loss_last"] - CHANCE) < AT_CHANCE for r in (rows, unscaled))],
        "better": [pair for pair in both if change[pair] < -0.05],
        "growth": [f"{min(growth):.0f}", f"{max(growth):.0f}"],
        "zeros": {name: int(np.count_nonzero(curve == 0)) for name, curve in curves.items()},
        "points": len(curves["mlp_1"]),
        "points_text": f"{len(curves['mlp_1']):,}",
        "medians": {
            name: f"{np.median(curve[-(len(curve) // epochs) :]):.1e}"
            for name, curve in curves.items()
        },
    }  # fmt: skip


def runs_text(variants: Variants) -> str:
    """Return how many runs there are of each variant, in words."""
    counts = sorted({len(records) for records in variants.values()})
    if counts == [1]:
        return "once"
    return {"2": "twice", "5": "five times"}.get(span(counts), f"{span(counts)} times")


def epochs_text(epochs: Sequence[int | None]) -> str:
    """Return the epochs of several runs as a range, and how many runs have none."""
    reached = sorted(epoch for epoch in epochs if epoch)
    if not reached:
        return "never"
    missing = len(epochs) - len(reached)
    return span(reached) + (f" ({missing} of {len(epochs)} runs never)" if missing else "")


def unmoved_weights(record: Record) -> dict:
    """Return how many first-layer weights a run has left as they were, to the last bit."""
    torch.manual_seed(record.config["seed"])
    model = build(record.config["architecture"], getattr(nn, record.config["activation"]))
    before, after = first_layer(model).weight.detach().numpy(), record["weights"]
    same = before == after
    return {
        "same": int(same.sum()),
        "all": int(same.size),
        "smallest_same": f"{np.abs(before[same]).min(initial=9):.3f}",
        "largest_moved": f"{np.abs(before[~same]).max(initial=0):.2f}",
    }


def with_nan(row: dict) -> dict:
    """Return `row` with None, which marks a value that is not finite, replaced by NaN."""
    return {key: math.nan if value is None else value for key, value in row.items()}


def mean_by_epoch(records: Sequence[Record], curve: str = "val_acc_curve") -> np.ndarray:
    """Return the mean of a curve over the points of each epoch and over the runs: (epochs,)."""
    curves = np.stack([record[curve] for record in records])
    return epoch_means(curves, records[0].config["epochs"]).mean(axis=0)


def late_rise(by_epoch: np.ndarray) -> float:
    """Return how far the last epoch's value is above that of LATE epochs before, or the first."""
    return float(by_epoch[-1] - by_epoch[-1 - min(LATE, len(by_epoch) - 1)])


def first_epoch(values: np.ndarray, level: float) -> int | None:
    """Return the first epoch, from 1, whose value is at least `level`, or None."""
    reached = np.flatnonzero(values >= level)
    return int(reached[0]) + 1 if len(reached) else None


def epochs_of_reaching(level: float, records: Sequence[Record]) -> list[int | None]:
    """Return `first_epoch` of each run's validation accuracy, as a mean over the epoch."""
    return [first_epoch(mean_by_epoch([record]), level) for record in records]


def noise(record: Record, epoch: int) -> float:
    """Return the deviation of the validation accuracy about its trend within an epoch, from 1."""
    curve, epochs = record["val_acc_curve"].astype(np.float64), record.config["epochs"]
    start, stop = ((epoch - k) * len(curve) // epochs for k in (1, 0))
    points = np.arange(start, max(start + 1, stop))  # however few there are
    return float((curve[points] - np.polyval(np.polyfit(points, curve[points], 1), points)).std())


def epoch_below(loss: float, records: Sequence[Record]) -> int | None:
    """Return the first epoch, from 1, whose mean training loss is at most `loss`, or None."""
    return first_epoch(-mean_by_epoch(records, "loss_curve"), -loss)


def roles_of_part5(name: str, variants: Variants) -> tuple[dict[str, list[Record]], list[int]]:
    """Return the variants of architecture `name` by their roles in section 5, and the rule's drops.

    Schedules with other drops may be recorded, too. Those at the epochs of part 5's rule count, or
    else the first ones. A role without a variant is left out.
    """
    of_name = {
        variant.removeprefix(f"{name}_"): records
        for variant, records in variants.items()
        if records[0].config["architecture"] == name
    }
    keys = {"sgd_1": "lr_0.1", "sgd_01": "lr_0.01", "sgd_001": "lr_0.001", "adam": "adam"}
    roles = {role: of_name[key] for role, key in keys.items() if key in of_name}
    ruled: list[int] = []
    for role, before in (("one_drop", "sgd_1"), ("two_drops", "one_drop")):
        if before not in roles:
            break
        first = roles[before][0]
        ruled.append(plateau_epoch(first["val_acc_curve"], first.config["epochs"], *ruled))
        schedules = [r for r in of_name.values() if len(r[0].config["drop_epochs"]) == len(ruled)]
        schedules.sort(key=lambda records: records[0].config["drop_epochs"] != ruled)
        if schedules:
            roles[role] = schedules[0]
    return roles, ruled


def epochs_until(level: float, values: np.ndarray, first: float = 0.5) -> float:
    """Return the time when values that increase, one for each unit of time, reach `level`.

    It is interpolated, and inf if they never do. The first value stands at `first`: the mean over
    an epoch at the epoch's middle, a recorded point at 1.
    """
    reached = np.flatnonzero(values >= level)
    if not len(reached):
        return math.inf
    k = int(reached[0])
    if k == 0:
        return first
    return first + k - 1 + float((level - values[k - 1]) / (values[k] - values[k - 1]))


def smooth_points(records: Sequence[Record]) -> np.ndarray:
    """Return the mean validation curve over the runs, each point the mean over nine around it."""
    curve = np.mean([record["val_acc_curve"] for record in records], axis=0, dtype=np.float64)
    smooth = np.convolve(curve, np.full(9, 1 / 9), mode="valid") if len(curve) >= 9 else curve[4:]
    return np.concatenate([curve[:4], smooth])  # the first ones as they are


def mean_of(values: Iterable[float]) -> float:
    """Return the mean of `values`, NaN if there are none."""
    return float(np.mean(list(values) or [math.nan]))


def low_and_high(values: Iterable[float]) -> list[float]:
    """Return the smallest and the largest of `values`, NaN if there are none."""
    found = list(values) or [math.nan]
    return [min(found), max(found)]


def speed_up(level: float, fast: np.ndarray, slow: np.ndarray) -> float:
    """Return how many times sooner the recorded points `fast` reach `level` than `slow`."""
    return epochs_until(level, slow, 1) / epochs_until(level, fast, 1)


def same_seed(one: Sequence[Record], other: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Return the pairs of runs with equal seeds, in the order of `one`."""
    by_seed = {record.config["seed"]: record for record in other}
    return [(r, by_seed[r.config["seed"]]) for r in one if r.config["seed"] in by_seed]


def mixed_pairs(one: Sequence[Record], other: Sequence[Record]) -> list[int]:
    """Return which pairs of equal seeds, from 0, were made with different versions of PyTorch."""
    pairs = [[r.environment.get("torch") for r in pair] for pair in same_seed(one, other)]
    return [k for k, (a, b) in enumerate(pairs) if a != b]


def differences(
    one: Sequence[Record], other: Sequence[Record], value: Callable[[Record], float]
) -> dict[str, Any]:
    """Compare `value` between runs of equal seeds.

    Returns the differences, their mean, and half the width of its 95 % confidence interval.
    """
    return with_interval(float(value(a) - value(b)) for a, b in same_seed(one, other))


def with_interval(values: Iterable[float]) -> dict[str, Any]:
    """Return `values`, their mean, and half the width of its 95 % confidence interval."""
    each = list(values)
    return {"each": each, "mean": mean_of(each), "width": half_width(each)}


def test_acc(record: Record) -> float:
    """Return the test accuracy of a run in percent."""
    return record.test_acc


def value_at(epoch: int, values: np.ndarray) -> float:
    """Return the value of an epoch, counted from 0 or back from -1; NaN if there is none."""
    return float(values[epoch]) if epoch < len(values) else math.nan


def val_acc(epoch: int) -> Callable[[Record], float]:
    """Return a function that returns the mean validation accuracy of a run's epoch."""
    return lambda record: value_at(epoch, mean_by_epoch([record]))


def rise_since(epoch: int) -> Callable[[Record], float]:
    """Return a function that returns how far it rises from an epoch, from 0, to the last one."""
    return lambda record: val_acc(-1)(record) - val_acc(epoch)(record)


Roles = dict[str, list[Record]]  # the records of part 5, by the keys in `roles_of_part5`
Curves = dict[str, np.ndarray]  # means over each epoch and over the runs, by the same keys


def speed_facts(roles: Roles, val: Curves) -> dict:
    """Return how many times as fast the larger constant rates are: 5.2.1."""

    def pairs(faster: str, slower: str, curve: Callable[..., np.ndarray]) -> list[list[np.ndarray]]:
        return [[curve([r]) for r in pair] for pair in same_seed(roles[faster], roles[slower])]

    last = len(val["sgd_1"])
    end_01, end_001 = float(val["sgd_01"][-1]), float(val["sgd_001"][-1])
    catch_up = [epochs_until(end_01, val["sgd_1"]), epochs_until(end_001, val["sgd_01"])]
    # Where accuracies are low an epoch is too long, so that recorded points tell
    points = {role: smooth_points(roles[role]) for role in RATES}
    low_levels = np.linspace(LOW_LEVEL, end_001, LEVELS)
    levels = np.linspace(end_001, end_01, LEVELS)
    return {
        "final_001": final(roles["sgd_001"], "val_acc_curve").tolist(),
        "catch_up": catch_up,
        "factors": [(last - 0.5) / epochs for epochs in catch_up],
        "factors_by_run": [
            low_and_high(
                (last - 0.5) / epochs_until(float(slow[-1]), fast)
                for fast, slow in pairs(faster, slower, mean_by_epoch)
            )
            for faster, slower in pairwise(RATES)
        ],
        "low_factors": {
            fast: low_and_high(speed_up(v, points[fast], points[slow]) for v in low_levels)
            for fast, slow in pairwise(RATES)
        },
        "low_factors_by_run": {
            faster: low_and_high(
                speed_up(v, fast, slow)
                for fast, slow in pairs(faster, slower, smooth_points)
                for v in low_levels
                if v <= slow.max()  # each as far as it gets
            )
            for faster, slower in pairwise(RATES)
        },
        "later_factors": low_and_high(
            speed_up(v, points["sgd_1"], points["sgd_01"]) for v in levels
        ),
    }


def schedule_facts(roles: Roles, val: Curves, train: Curves, drops: Sequence[int]) -> dict:
    """Return what the drops change: 5.2.2 and 5.2.3."""
    (drop, next_drop), last, end = drops, len(val["sgd_1"]), len(val["two_drops"])
    with_and_without, both = ("one_drop", "sgd_1"), [roles[role] for role in SCHEDULES]
    gap = {role: train[role] - val[role] for role in roles}
    loss = {role: mean_by_epoch(roles[role], "loss_curve") for role in with_and_without}
    second_noise, rise = min(next_drop + 1, end), rise_since(last - 1)
    return {
        "noise": [[noise(r, drop + 1) for r in roles[role]] for role in ("sgd_1", "one_drop")],
        "noise_end": {role: [noise(r, last) for r in roles[role]] for role in (*RATES, "one_drop")},
        "losses": [[value_at(e, loss[role]) for role in loss] for e in (drop, last - 1)],
        "first_drop": [value_at(drop, val[role]) for role in with_and_without],
        "at_constants_end": [value_at(last - 1, val[role]) for role in with_and_without],
        "against_constant": {
            when: differences(roles["one_drop"], roles["sgd_1"], val_acc(epoch))
            for when, epoch in (("first_drop", drop), ("constants_end", last - 1))
        },
        "train_at_constants_end": [value_at(last - 1, train[role]) for role in with_and_without],
        "gaps_at_constants_end": [value_at(last - 1, gap[role]) for role in with_and_without],
        "second_drop": [value_at(min(next_drop, end - 1), val[role]) for role in SCHEDULES],
        "second_drop_noise": [[noise(r, second_noise) for r in records] for records in both],
        "second_drop_gain": {
            "validation": differences(*both, val_acc(-1)), "test": differences(*both, test_acc),
        },
        "late_rises": {
            role: with_interval(map(rise, roles[role])) for role in (*SCHEDULES, "adam")
        },
        "late_gain": differences(*both, rise),
        "at_end": [float(val[role][-1]) for role in SCHEDULES],
        "train_at_end": [float(train[role][-1]) for role in SCHEDULES],
        "gaps_at_end": [float(gap[role][-1]) for role in (*SCHEDULES, "adam")],
        "adam_gap": differences(
            roles["two_drops"], roles["adam"], lambda record: float(final_gaps([record])[0])
        ),
    }  # fmt: skip


def adam_facts(
    roles: Roles, val: Curves, drop: int, adam_of_part3: Sequence[Record], mixed: Sequence[int]
) -> dict:
    """Compare the schedule with two drops with Adam: 5.2.4. `mixed` is of `mixed_pairs`."""
    schedule, adam = roles["two_drops"], roles["adam"]
    tests = [sample([test_acc(r) for r in records]) for records in (schedule, adam_of_part3)]
    lead = val["two_drops"] - val["adam"]
    between = slice(2, drop)  # from epoch 3 to the first drop
    against = {
        "validation": differences(schedule, adam, val_acc(-1)),
        "test": differences(schedule, adam, test_acc),
    }
    last_of_part3 = adam_of_part3[0].config["epochs"] - 1
    return {
        "against_adam": against,
        "against_adam_unmixed": {
            kind: with_interval(x for k, x in enumerate(pairs["each"]) if k not in mixed)
            for kind, pairs in against.items()
        },
        "against_adam_3": {"mean": tests[0][0] - tests[1][0], "width": welch_width(*tests)},
        "lead": {
            "start": (-lead[:2]).tolist(), "before": low_and_high(lead[between].tolist()),
            "between": differences(schedule, adam, lambda r: mean_of(mean_by_epoch([r])[between])),
            "highest": float(lead.max()), "end": float(lead[-1]),
        },
        # The same runs, made with another version of PyTorch: what differs is the rounding
        "rounding": differences(adam_of_part3, adam, val_acc(last_of_part3)),
    }  # fmt: skip


def part5_facts(name: str, part3: Variants, part5: Variants) -> dict:
    """Return how fast, how steady and how good the variants of architecture `name` are."""
    roles, ruled = roles_of_part5(name, part5)
    val = {role: mean_by_epoch(records) for role, records in roles.items()}
    train = {r: mean_by_epoch(records, "train_acc_curve") for r, records in roles.items()}
    drops = roles["two_drops"][0].config["drop_epochs"]
    drop = drops[0]
    mixed = mixed_pairs(roles["two_drops"], roles["adam"])
    numbers = {
        "final": {role: float(values[-1]) for role, values in val.items()},
        "constant": [value_at(drop - 1, val["sgd_1"]), float(val["sgd_1"].max())],
        **speed_facts(roles, val),
        **schedule_facts(roles, val, train, drops),
        **adam_facts(roles, val, drop, part3[name], mixed),
    }

    def plateaus(role: str, *rule: float) -> list[int]:
        after = 0 if role == "sgd_1" else drop
        return [
            plateau_epoch(record["val_acc_curve"], record.config["epochs"], after, *rule)
            for record in roles[role]
        ]

    undecided = [
        kind
        for kind, pairs in numbers["against_adam"].items()
        if not pairs["mean"] > pairs["width"]  # the schedule is not clearly ahead
    ]
    numbers = without_nan(numbers)
    return {
        "architecture": name,
        "runs": runs_text(roles),
        "keys": {role: records[0].path.parent.name.removeprefix(f"{name}_")
                 for role, records in roles.items()},
        "drops": drops,
        "ruled_drops": ruled,
        "other_rules": [
            [epochs_text(plateaus(role, *rule)) for role in ("sgd_1", "one_drop")]
            for rule in ((3, 1.0), (2, 0.5), (3, 0.25))
        ],
        "plateaus": [epochs_text(plateaus(role)) for role in ("sgd_1", "one_drop")],
        "made": made_facts([r for records in roles.values() for r in records]),
        "pairs": len(numbers["against_adam"]["test"]["each"]),
        "mixed_pairs": [str(k + 1) for k in mixed],
        "undecided": undecided,
        "passes_adam": first_epoch(val["two_drops"], float(val["adam"][-1])),
        "speed_level": SPEED_LEVEL,
        "reached": {r: first_epoch(v, SPEED_LEVEL) or "never" for r, v in val.items()},
        "reached_by_run": {
            role: epochs_text(epochs_of_reaching(SPEED_LEVEL, roles[role]))
            for role in ("two_drops", "adam")
        },
        "low_level": LOW_LEVEL,
        "left_by_001": [
            str(epoch or "never") for epoch in epochs_of_reaching(LOW_LEVEL, roles["sgd_001"])
        ],
        "numbers": numbers,
        "text": with_decimals(numbers) | {k: with_decimals(numbers[k], ".2f") for k in SMALL},
    }  # fmt: skip


def with_decimals(value: Any, form: str = ".1f") -> dict | list | str | None:
    """Return a copy in which each number is a text, with one decimal if nothing else is said."""
    if isinstance(value, dict):
        return {key: with_decimals(item, form) for key, item in value.items()}
    if isinstance(value, list):
        return [with_decimals(item, form) for item in value]
    return "–" if value is None else number_text(value, form)


def collect(summary: dict, results: Path) -> dict:
    """Return all of the above, as report.typ reads it."""
    architecture = reported_architecture(summary)
    variants = {part: read_variants(results, part) for part in ("part3", *KINDS, "part5")}
    part5 = part5_facts(architecture, variants["part3"], variants["part5"])
    return with_texts(summary) | {
        "names": list(ARCHITECTURES),
        "formula": {name: {"terms": [f"{n:,}" for n in counts], "total": f"{sum(counts):,}"}
                    for name, counts in PARAMETERS.items()},
        "from2": part2_facts(results),
        "made": made_facts([r for records in variants["part3"].values() for r in records]),
        "measured": measured_facts(results, summary["data_sha256"]),
        "from3": part3_facts(summary["part3"], variants["part3"]),
        "from4": part4_facts(summary, variants),
        "from5": part5,
    }  # fmt: skip
