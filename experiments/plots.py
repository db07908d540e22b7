"""Figures that the course's helpers do not draw: the spread over the runs, the schedules of part 5.

They take nothing from utils.py, so that the course's own file can take its place.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from experiments.aggregate import epoch_means
from experiments.records import Record
from experiments.storage import write_atomically

COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"]  # Okabe and Ito, as in utils.py
LINE_STYLES = ["-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1))]
MARKERS = ["o", "s", "^", "D", "v"]
STYLE = {"font.size": 11, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
         "axes.spines.top": False, "axes.spines.right": False, "savefig.dpi": 200,
         "figure.constrained_layout.use": True}  # fmt: skip


def plot_spread(finished: dict[str, Sequence[Record]], title: str, path: Path) -> None:
    """Draw the mean and standard deviation over the runs of each architecture of part 3.

    finished: records by architecture. The deviation is that of the means over each epoch, so
    that the bands show how runs differ and not how noisy a curve is.
    """
    with plt.rc_context(STYLE):
        figure, (loss_axes, acc_axes) = plt.subplots(1, 2, figsize=(10, 4.6))
        for k, (name, records) in enumerate(finished.items()):
            look: dict[str, Any] = {
                "color": COLORS[k], "linestyle": LINE_STYLES[k], "marker": MARKERS[k],
            }  # fmt: skip
            _plot_band(
                loss_axes, records, "loss_curve", label=f"{name} ({count_runs(records)})", **look
            )
            _plot_band(acc_axes, records, "val_acc_curve", **look)
        loss_axes.set(title=f"{title}: training loss", ylabel="cross-entropy", xlabel="epoch")
        acc_axes.set(title=f"{title}: validation accuracy", ylabel="accuracy (%)", xlabel="epoch")
        figure.legend(loc="outside upper center", ncols=5, handlelength=3, columnspacing=1,
                      title="mean ± standard deviation over the runs")  # fmt: skip
        _save(figure, path)


def count_runs(records: Sequence[Record]) -> str:
    """Return the number of records in words."""
    return f"{len(records)} runs" if len(records) > 1 else "one run"


def plot_schedules(name: str, finished: dict[str, Sequence[Record]], path: Path) -> None:
    """Draw the validation accuracy of the two schedules of part 5, their drops marked.

    finished: records by "1" (constant learning rate 0.1), "one drop", "two drops" and "Adam".
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(8, 5))
        _plot_band(axes, finished["1"], "val_acc_curve", levels=True, label="SGD 0.1",
                   color="gray", linestyle=LINE_STYLES[2])  # fmt: skip
        adam = finished["Adam"]
        _plot_band(axes, adam, "val_acc_curve", levels=True, color=COLORS[2],
                   label=f"Adam 0.001 ({count_runs(adam)})", linestyle=LINE_STYLES[3])  # fmt: skip
        for k, drops in enumerate(("one drop", "two drops")):
            rates = " → ".join(map(str, finished[drops][0].config["learning_rates"]))
            _plot_band(axes, finished[drops], "val_acc_curve", levels=True, raw=True,
                       label=f"SGD {rates}", color=COLORS[k], linestyle=LINE_STYLES[k])  # fmt: skip
        config = finished["two drops"][0].config
        changes = zip(config["drop_epochs"], config["learning_rates"][1:], strict=True)
        for k, (epoch, rate) in enumerate(changes):
            axes.axvline(epoch, color="black", linewidth=0.8)
            late = epoch > 0.8 * config["epochs"]
            axes.annotate(
                f"{rate} after epoch {epoch}",
                (epoch, 0),
                xytext=(-4 if late else 4, 4 + 14 * k),  # one above the other
                ha="right" if late else "left",
                xycoords=axes.get_xaxis_transform(),
                textcoords="offset points",
                fontsize=9,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
        axes.set(title=f"{name}: scheduled learning rate", xlabel="epoch",
                 ylabel="validation accuracy (%)")  # fmt: skip
        axes.set_xlim(0, config["epochs"])
        # The steep beginning would take most of the height; where a curve ends has to be seen
        ends = [finished[drops][0]["val_acc_curve"][-1] for drops in ("one drop", "two drops")]
        bottom = min(axes.dataLim.y1 - 20, float(np.nanmin(ends)) - 5)
        axes.set_ylim(bottom=max(axes.get_ylim()[0], bottom))
        figure.legend(loc="outside upper center", ncols=2, handlelength=4)
        _save(figure, path)


def _plot_band(
    axes: Axes,
    records: Sequence[Record],
    curve: str,
    levels: bool = False,
    raw: bool = False,
    **look: Any,
) -> None:
    """Draw the mean of every epoch of a curve over `records` and a band of a standard deviation.

    An epoch's mean stands at its middle, with `levels` it is level from its start to its end. With
    `raw` the curve itself is drawn, pale, behind it.
    """
    curves = np.stack([record[curve] for record in records]).astype(np.float64)
    curves[~np.isfinite(curves)] = np.nan
    epochs, points = records[0].config["epochs"], curves.shape[1]
    if raw:
        epoch = epochs * np.arange(1, points + 1) / points
        dots = {"color": look["color"], "alpha": 0.3, "markersize": 2, "markeredgewidth": 0}
        axes.plot(epoch, curves.mean(axis=0), ".", **dots)
    means, epoch = epoch_means(curves, epochs), np.arange(epochs) + 0.5
    if levels:
        means, epoch = means[:, [*range(epochs), -1]], np.arange(epochs + 1)
    mean, drawstyle = means.mean(axis=0), "steps-post" if levels else "default"
    axes.plot(epoch, mean, linewidth=2, markersize=4, drawstyle=drawstyle, **look)
    if len(records) > 1:
        deviation = means.std(axis=0, ddof=1)
        band = (mean - deviation, mean + deviation)
        step: Any = "post" if levels else None
        axes.fill_between(epoch, *band, color=look["color"], alpha=0.2, linewidth=0, step=step)


def _save(figure: plt.Figure, path: Path) -> None:
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    write_atomically(path, picture.getvalue())
