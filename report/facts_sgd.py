"""What the report knows of parts 4 and 5, beyond the summary's own numbers."""

import math
from collections.abc import Sequence

import numpy as np

from averages import epoch_means
from models import ARCHITECTURES
from part5_learning_rate import stops_increasing
from records import Record

Variants = dict[str, list[Record]]  # the records of a part, by the names of their folders
CNNS = [name for name in ARCHITECTURES if name.startswith("cnn")]
ACTIVATIONS = {"mlp_1": 1, "mlp_2": 1, "cnn_3": 2, "cnn_4": 4, "cnn_5": 6}  # layers of them
CHANCE = math.log(10)  # the cross-entropy of ten equal probabilities
AT_CHANCE, LEFT = 0.01, 0.1  # how near to it a loss has not left it, and how far below it has
LATE, RISING = 3, 0.5  # epochs, points: a rise at the end, as in part5_learning_rate.py
NEAR_ADAM = 2  # points below Adam's final validation accuracy, to compare speeds


def estimated_ratio(name: str) -> float:
    """Gradient with sigmoid over gradient with ReLU: a factor 1/4 for one of sqrt(1/2) a layer."""
    return (1 / 4 / math.sqrt(1 / 2)) ** ACTIVATIONS[name]


def part4_facts(rows: dict, unscaled: dict, records: Variants) -> dict:
    """Ratios of gradients, and which trainings do what."""
    rows = {n: rows[n] for n in ARCHITECTURES}  # the order of lists in the text
    unscaled = {
        n: {a: with_nan(row) for a, row in unscaled[n].items()} for n in ARCHITECTURES if unscaled
    }
    ratios = {n: rows[n]["sigmoid"]["grad_first"] / rows[n]["relu"]["grad_first"] for n in rows}
    relu = {n: row["relu"] for n, row in rows.items()}
    both = [(n, a) for n in unscaled for a in ("relu", "sigmoid")]
    change = {(n, a): unscaled[n][a]["loss_last"] - rows[n][a]["loss_last"] for n, a in both}
    dead = [n for n in unscaled if unscaled[n]["relu"]["grad_last"] == 0]
    off = [max(r / estimated_ratio(n), estimated_ratio(n) / r) for n, r in ratios.items()]

    def fall(activation: str, point: str) -> str:
        few, many = (rows[name][activation][point] for name in (CNNS[0], CNNS[-1]))
        factor = float(f"{few / many:.2g}")  # no more digits than one training is worth
        return f"{factor:,.{0 if factor > 10 else 1}f}"

    return {
        "ratio": {name: f"{ratio:.1e}" for name, ratio in ratios.items()},
        "estimate": {name: f"{estimated_ratio(name):.1e}" for name in rows},
        "off": f"{max(off):.1f}",
        "ratio_range": f"{max(ratios.values()) / min(ratios.values()):,.0f}",
        "fall": {a: fall(a, "grad_first") for a in ("relu", "sigmoid")},
        "fall_last": {a: fall(a, "grad_last") for a in ("relu", "sigmoid")},
        "leaves": {a: {n: epoch_below(CHANCE - LEFT, records[f"{n}_{a}"]) for n in rows}
                   for a in ("relu", "sigmoid")},
        "blown_up": [n for n in unscaled
                     if not unscaled[n]["relu"]["loss_first"] < 2 * relu[n]["loss_first"]],
        "dead": dead,
        "dead_at_once": all(unscaled[n]["relu"]["grad_first"] == 0 for n in dead),
        "stuck": [(n, a) for n, a in both
                  if all(abs(r[n][a]["loss_last"] - CHANCE) < AT_CHANCE for r in (rows, unscaled))],
        "stuck_high": [n for n in dead if unscaled[n]["relu"]["loss_last"] > 100],
        "diverged": [n for n in unscaled if math.isnan(unscaled[n]["relu"]["grad_last"])],
        "better": [pair for pair in both if change[pair] < -0.05],
        "worse": [pair for pair in both if not change[pair] < 0.05],
    }  # fmt: skip


def with_nan(row: dict) -> dict:
    """A row of the summary; what is not finite is None there, and nan again here."""
    return {key: math.nan if value is None else value for key, value in row.items()}


def mean_by_epoch(records: Sequence[Record], curve: str = "val_acc_curve") -> np.ndarray:
    """A curve, the mean over the points of each epoch and over the runs."""
    curves = np.stack([record[curve] for record in records])
    return epoch_means(curves, records[0].config["epochs"]).mean(axis=0)


def late_rise(by_epoch: np.ndarray) -> float:
    """By how much the last epoch's value is above that of LATE epochs before, or the first."""
    return float(by_epoch[-1] - by_epoch[-1 - min(LATE, len(by_epoch) - 1)])


def first_epoch(values: np.ndarray, level: float) -> int | None:
    """The first epoch, from 1, whose value is at least `level`, if any."""
    reached = np.flatnonzero(values >= level)
    return int(reached[0]) + 1 if len(reached) else None


def noise(record: Record, epoch: int) -> float:
    """The deviation of the validation accuracy about its trend within an epoch, from 1, points."""
    curve, epochs = record["val_acc_curve"].astype(np.float64), record.config["epochs"]
    start, stop = ((epoch - k) * len(curve) // epochs for k in (1, 0))
    points = np.arange(start, max(start + 1, stop))  # however few there are
    return float((curve[points] - np.polyval(np.polyfit(points, curve[points], 1), points)).std())


def epoch_below(loss: float, records: Sequence[Record]) -> int | None:
    """The first epoch, from 1, whose mean training loss is at most `loss`, if any."""
    return first_epoch(-mean_by_epoch(records, "loss_curve"), -loss)


def part5_facts(name: str, row: dict, part3: Variants, part5: Variants) -> dict:
    """The trainings of architecture `name` by their role, and how fast and how steady they are."""
    records = {
        variant.removeprefix(f"{name}_"): records
        for variant, records in part5.items()
        if records[0].config["architecture"] == name
    }
    keys = {"sgd_1": "lr_0.1", "sgd_01": "lr_0.01", "sgd_001": "lr_0.001"}
    ruled = []  # the epochs of the drops by part 5's rule; other schedules may be recorded, too
    for role, previous in (("one_drop", "sgd_1"), ("two_drops", "one_drop")):
        previous_run = records[keys[previous]][0]
        curve, epochs = previous_run["val_acc_curve"], previous_run.config["epochs"]
        ruled.append(stops_increasing(curve, epochs, *ruled))
        drops = {k: t["drop_epochs"] for k, t in row["trainings"].items()
                 if len(t["drop_epochs"]) == len(ruled)}  # fmt: skip
        keys[role] = next((k for k, epochs in drops.items() if epochs == ruled), next(iter(drops)))
    by_epoch = {role: mean_by_epoch(records[key]) for role, key in keys.items()}
    by_epoch["adam"] = mean_by_epoch(part3[name])
    near_adam = float(by_epoch["adam"][-1]) - NEAR_ADAM

    noise_at_end = {
        role: noise(records[keys[role]][0], len(by_epoch[role]))
        for role in ("sgd_1", "sgd_01", "sgd_001")
    }
    adam_at_end = [float(mean_by_epoch([record])[-1]) for record in part3[name]]
    two_drops = records[keys["two_drops"]]
    drops = row["trainings"][keys["two_drops"]]["drop_epochs"]
    around = [[float(a) for a in by_epoch["two_drops"][epoch - 1 : epoch + 1]] for epoch in drops]
    after = [drops[1], -1] if drops[1] < len(by_epoch["two_drops"]) else [-1, -1]
    settled = [mean_by_epoch(two_drops, f"{c}_acc_curve")[after] for c in ("train", "val")]
    return {
        "architecture": name,
        "keys": keys,
        "near_adam": f"{near_adam:.1f}",
        "epochs_to_adam": {role: first_epoch(a, near_adam) for role, a in by_epoch.items()},
        "adam_epochs": [first_epoch(mean_by_epoch([record]), near_adam) for record in part3[name]],
        "at_adams_end": f"{by_epoch['two_drops'][: len(by_epoch['adam'])][-1]:.1f}",
        "epochs_to_001": first_epoch(by_epoch["sgd_01"], by_epoch["sgd_001"][-1]),
        "epochs_to_01": first_epoch(by_epoch["sgd_1"], by_epoch["sgd_01"][-1]),
        "still_rising_01": late_rise(by_epoch["sgd_01"]) > RISING,
        "at_constants_end": float(by_epoch["one_drop"][: len(by_epoch["sgd_1"])][-1]),
        "adam_range": [f"{a:.1f}" for a in (min(adam_at_end), max(adam_at_end))],
        "adam_std": f"{np.std(adam_at_end, ddof=1):.1f}" if len(adam_at_end) > 1 else None,
        "noise": noise_at_end,
        "noise_text": {role: f"{value:.1f}" for role, value in noise_at_end.items()},
        "noise_around_drop": [noise(two_drops[0], epoch) for epoch in (drops[0], drops[0] + 1)],
        "settled": [[f"{a:.1f}" for a in pair] for pair in settled],
        "drops": drops,
        "ruled_drops": ruled,
        "around_drops": around,
        "around_text": [[f"{a:.1f}" for a in pair] for pair in around],
    }
