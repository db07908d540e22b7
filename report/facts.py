"""What the report knows: the summary, its numbers as texts, and what follows from them."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from files import read_npy
from models import ARCHITECTURES
from records import Record
from report.facts_sgd import CNNS, Variants, late_rise, mean_by_epoch, part4_facts, part5_facts
from report.parameters import PARAMETERS
from summary import final, read_variants
from tables import accuracy_text, number_text

MLPS = [name for name in ARCHITECTURES if name.startswith("mlp")]
CLEAR = 3  # standard errors that a difference of means has to have to be called one
FORMATS = {
    "test_acc_best": ".2f", "train_acc_final": ".1f", "val_acc_final": ".1f",
    "val_acc_best": ".1f", "gap": ".1f", "parameters": ",",
    "loss_first": ".3f", "loss_last": ".3f", "grad_first": ".1e", "grad_last": ".1e",
}  # fmt: skip


def with_texts(summary: dict | list | float) -> dict | list | float | None:
    """A copy of the summary in which each row has its numbers as `text`."""
    if not isinstance(summary, dict):
        return summary
    row = {key: with_texts(value) for key, value in summary.items()}
    text = {k: number_text(summary[k], form) for k, form in FORMATS.items() if k in summary}
    if "test_acc_mean" in summary:
        text["test_acc"] = accuracy_text(summary).replace(" ", "\N{NO-BREAK SPACE}")
    return row | {"text": text} if text else row


def compare(one: dict, other: dict) -> dict:
    """The difference of two means of test accuracies in points and in standard errors.

    A single run has no deviation, so that nothing about it is clear.
    """
    difference = one["test_acc_mean"] - other["test_acc_mean"]
    samples = [(row["test_acc_std"], row["runs"]) for row in (one, other)]
    errors = standard_errors(difference, *samples)
    return {
        "difference": f"{abs(difference):.2f}",
        "errors": f"{errors:.1f}",
        "higher": difference > 0,
        "clear": errors >= CLEAR,
    }


def standard_errors(difference: float, *samples: tuple[float | None, int]) -> float:
    """A difference of means in its standard errors; samples: standard deviations and sizes."""
    variances = [math.inf if std is None else std**2 / size for std, size in samples]
    return abs(difference) / max(math.sqrt(sum(variances)), 1e-9)


def gap_groups(order: Sequence[str], variants: Variants) -> list[list[str]]:
    """`order`, by the gap of training and validation accuracy, cut where neighbours differ clearly.

    The gap of a run is that of its means over the last epoch.
    """

    def gaps(records: Sequence[Record]) -> tuple[float, tuple[float | None, int]]:
        values = [final([r], "train_acc_curve") - final([r], "val_acc_curve") for r in records]
        deviation = np.std(values, ddof=1) if len(values) > 1 else None
        return np.mean(values), (deviation, len(values))

    groups = [[order[0]]]
    for before, name in pairwise(order):
        (one, sample), (other, other_sample) = gaps(variants[before]), gaps(variants[name])
        if standard_errors(other - one, sample, other_sample) >= CLEAR:
            groups.append([])
        groups[-1].append(name)
    return groups


def neighbour_correlation(weights: np.ndarray) -> float:
    """Mean over the units of the correlation of horizontally or vertically adjacent weights."""
    size = 32 if weights.ndim == 2 else weights.shape[-1]
    correlations = []
    for image in weights.reshape(-1, size, size):
        first = np.concatenate([image[:, :-1].ravel(), image[:-1].ravel()])
        second = np.concatenate([image[:, 1:].ravel(), image[1:].ravel()])
        correlations.append(np.corrcoef(first, second)[0, 1])
    return float(np.mean(correlations))


def reported_architecture(summary: dict) -> str | None:
    """That one of part 5's which is best in part 3 by its final validation accuracy."""
    part3 = summary["part3"]
    candidates = [name for name in summary.get("part5", {}) if name in part3]
    return max(candidates, key=lambda name: part3[name]["val_acc_final"], default=None)


def part2_facts(results: Path) -> dict:
    """The files of the input, and the means of the maps: rows are images, columns kernels."""
    out = read_npy(results / "part2_out.npy", f"run part2_conv.py --out {results} again").real
    files = json.loads((results / "part2.json").read_text(encoding="utf-8"))
    means = out.mean((2, 3)).tolist()
    return {"images": out.shape[0], "kernels": out.shape[1], "means": means, "files": files}


def part3_facts(rows: dict, variants: Variants) -> dict:
    """Orders of the architectures, comparisons of all pairs, and a look at the weights."""
    order = sorted(rows, key=lambda name: -rows[name]["test_acc_mean"])
    cnn_means = [rows[name]["test_acc_mean"] for name in CNNS]
    by_gap = sorted(rows, key=lambda name: rows[name]["gap"])
    best = {
        name: max(records, key=lambda record: record.test_acc) for name, records in variants.items()
    }
    neighbours = {name: neighbour_correlation(best[name]["weights"]) for name in rows}
    return {
        "order": order,
        "by_validation": sorted(rows, key=lambda name: -rows[name]["val_acc_final"]),
        "by_gap": by_gap,
        "gap_groups": gap_groups(by_gap, variants),
        "cnns_by_parameters": sorted(CNNS, key=lambda name: rows[name]["parameters"]),
        "cnns_by_accuracy": [name for name in reversed(order) if name in CNNS],
        "cnn_range": f"{max(cnn_means) - min(cnn_means):.1f}",
        "family_gap": f"{min(cnn_means) - max(rows[n]['test_acc_mean'] for n in MLPS):.1f}",
        "compare": {a: {b: compare(rows[a], rows[b]) for b in rows if b != a} for a in rows},
        "cnn_val_min": f"{min(rows[name]['val_acc_final'] for name in CNNS):.1f}",
        "mlp_train_max": f"{max(rows[name]['train_acc_final'] for name in MLPS):.1f}",
        "late_rise": {name: f"{late_rise(mean_by_epoch(variants[name])):.1f}" for name in CNNS},
        "above_diagonal": [
            n for n in rows if rows[n]["test_acc_best"] > rows[n]["train_acc_final"]
        ],
        "neighbours": neighbours,
        "neighbours_text": {name: number_text(value, ".2f") for name, value in neighbours.items()},
    }  # fmt: skip


def collect(summary: dict, results: Path) -> dict:
    """All of the above, as report.typ reads it."""
    architecture = reported_architecture(summary)
    variants = {part: read_variants(results, part) for part in ("part3", "part4", "part5")}
    part5 = part5_facts(
        architecture, summary["part5"][architecture], variants["part3"], variants["part5"]
    )
    adam, trainings = summary["part3"][architecture], summary["part5"][architecture]["trainings"]
    part5["adam_comparison"] = {
        role: compare(trainings[key], adam) for role, key in part5["keys"].items()
    }
    return with_texts(summary) | {
        "names": list(ARCHITECTURES),
        "formula": {name: {"terms": [f"{n:,}" for n in counts], "total": f"{sum(counts):,}"}
                    for name, counts in PARAMETERS.items()},
        "from2": part2_facts(results),
        "from3": part3_facts(summary["part3"], variants["part3"]),
        "from4": part4_facts(summary["part4"], summary["part4_unscaled"], variants["part4"]),
        "from5": part5,
    }  # fmt: skip
