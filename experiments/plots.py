"""Draw what the course's helpers do not: how runs vary, and the schedules of part 5.

This module does not import utils.py, so that the course's own file can take its place. Every value
is the mean over an epoch, drawn at the epoch's middle, so that bands show how runs differ and not
how noisy a curve is. A line is the mean over the runs. Its band extends from the lowest run to the
highest. Values that are not finite are left out.
"""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from experiments.aggregate import epoch_means
from experiments.records import Record
from experiments.storage import write_atomically

# As in utils.py, where the reasons are
COLORS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000"]
LINE_STYLES: list[Any] = ["-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P"]
LN_10, HUGE = math.log(10), 20
STYLE = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
         "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.5,
         "savefig.dpi": 140, "figure.constrained_layout.use": True}  # fmt: skip
MOST = 8  # images and kernels of part 2 that are shown
Runs = Mapping[str, Sequence[Record]]  # the records of each curve, by its name


def plot_convolution(images: np.ndarray, kernels: np.ndarray, out: np.ndarray, path: Path) -> None:
    """Draw the first images (left), kernels (top) and maps of part 2.

    images: (N, C, H, W), kernels: (O, C, h, w), out: (N, O, H', W'). The first channel is shown.
    Kernels have one scale, and maps another one. Zero is medium gray in both.
    """
    images, kernels, out = images[:MOST, 0], kernels[:MOST, 0], out[:MOST, :MOST]
    shape = (len(images) + 1, len(kernels) + 1)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(*shape, figsize=shape[::-1], squeeze=False)
        for panel in axes.ravel():
            panel.axis("off")
        for column, panel in enumerate(axes[0, 1:], 1):
            panel.set_title(f"kernel {column}", fontsize=9)
        for panels, shown in ((axes[1:, 0], images), (axes[0, 1:], kernels), (axes[1:, 1:], out)):
            limit = float(np.abs(shown[np.isfinite(shown)]).max(initial=0)) or 1
            limits = {} if shown is images else {"vmin": -limit, "vmax": limit}
            for place in np.ndindex(panels.shape):
                panels[place].imshow(shown[place], cmap="gray", **limits)
        save_figure(figure, path, gray=True)


def plot_spread(finished: Runs, title: str, path: Path) -> None:
    """Draw how the runs of each architecture of part 3 vary, and every run as a point.

    finished: records by architecture.
    """
    with plt.rc_context(STYLE):
        figure, (loss_axes, acc_axes, run_axes) = plt.subplots(1, 3, figsize=(11, 4.2))
        _plot_losses(loss_axes, finished, title)
        _plot_runs(acc_axes, finished, "val_acc_curve")
        acc_axes.set(title="validation accuracy", ylabel="accuracy (%)")
        for k, records in enumerate(finished.values()):
            last = _by_epoch(records, "train_acc_curve")[:, -1]
            points = look(k) | {"linestyle": "none", "alpha": 0.7}
            run_axes.plot(last, [record.test_acc for record in records], **points)
        run_axes.set(title="every run", ylabel="test accuracy (%)",
                     xlabel="training accuracy, last epoch (%)")  # fmt: skip
        low, *_, high = sorted((*run_axes.get_xlim(), *run_axes.get_ylim()))
        run_axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", anchor="N")
        run_axes.axline((low, low), slope=1, color="gray", linewidth=0.8, zorder=0)
        _name_curves(figure, [f"{name} ({count_runs(runs)})" for name, runs in finished.items()])
        save_figure(figure, path)


def plot_activation_spread(
    finished: Mapping[tuple[str, str], Sequence[Record]], title: str, path: Path
) -> None:
    """Draw how the runs of part 4 vary, a column for each activation.

    finished: records by architecture and activation, such as ("mlp_1", "relu").
    """
    names, activations = (list(dict.fromkeys(pair[k] for pair in finished)) for k in (0, 1))
    with plt.rc_context(STYLE):
        size = (5 * len(activations), 6.6)
        figure, axes = plt.subplots(2, len(activations), figsize=size, sharex=True, squeeze=False)
        for (loss_axes, grad_axes), activation in zip(axes.T, activations, strict=True):
            runs = {name: finished[name, activation] for name in names}
            heading = f"{title}, {'ReLU' if activation == 'relu' else activation}"
            _plot_losses(loss_axes, runs, heading)
            loss_axes.set_xlabel("")
            _plot_runs(grad_axes, runs, "grad_curve", log_above=0)
            grad_axes.set(title=f"{heading}: gradient of the first layer", ylabel="|dL/dW|")
        for row in axes:
            if {panel.get_yscale() for panel in row} in ({"linear"}, {"log"}):
                ends = [end for panel in row for end in panel.get_ylim()]
                plt.setp(row, ylim=(min(ends), max(ends)))
        counts: dict[str, dict] = {name: {} for name in names}
        for (name, _), records in finished.items():
            counts[name][count_runs(records)] = None
        _name_curves(figure, [f"{name} ({' / '.join(words)})" for name, words in counts.items()])
        save_figure(figure, path)


def plot_learning_rates(name: str, finished: Runs, path: Path) -> None:
    """Draw how the runs of part 5's constant learning rates vary.

    finished: records by label, such as "learning rate 0.1". Their numbers of epochs may differ.
    """
    with plt.rc_context(STYLE):
        figure, (loss_axes, acc_axes) = plt.subplots(1, 2, figsize=(10, 4.2))
        _plot_losses(loss_axes, finished, name)
        _plot_runs(acc_axes, finished, "val_acc_curve")
        acc_axes.set(title="validation accuracy", ylabel="accuracy (%)")
        _name_curves(figure, [f"{label} ({count_runs(runs)})" for label, runs in finished.items()])
        save_figure(figure, path)


def plot_schedules(name: str, finished: Runs, path: Path) -> None:
    """Draw the validation accuracy of the two schedules of part 5 and of Adam.

    The right panel begins with the last epoch before the first drop. The schedules are the same as
    the constant rate up to the first drop, and the same as each other up to the second. What is
    common is drawn once.

    finished: records by "constant" (the first learning rate), "one drop", "two drops" and "Adam".
    """
    config = finished["two drops"][0].config
    (first, second), (fast, medium, slow) = config["drop_epochs"], config["learning_rates"]
    branches = {  # the epoch from which each differs from the one before
        "constant": (0, f"SGD {fast}"),
        "one drop": (first, f"SGD {fast} → {medium}"),
        "two drops": (second, f"SGD {fast} → {medium} → {slow}"),
        "Adam": (0, f"Adam {finished['Adam'][0].config['learning_rates'][0]}"),
    }
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), width_ratios=(2, 3))
        for axes, start_at in zip(panels, (0, first - 1), strict=True):
            for k, (key, (start, _)) in enumerate(branches.items()):
                by_epoch = _by_epoch(finished[key], "val_acc_curve")
                _plot_band(axes, k, by_epoch, from_epoch=max(start - 1, start_at))
            for epoch, rate in ((first, medium), (second, slow)):
                axes.axvline(epoch, color="black", linewidth=0.8, linestyle=(0, (4, 3)))
                if axes is panels[1]:  # where there is room
                    axes.annotate(str(rate), (epoch, 1), xycoords=axes.get_xaxis_transform(),
                                  xytext=(3, 2), textcoords="offset points")  # fmt: skip
            axes.set_xlim(start_at, config["epochs"])
        panels[0].set_ylabel("validation accuracy (%)")
        panels[0].set_title(f"{name}, {count_runs(finished['two drops'])} of each", pad=18)
        panels[1].set_title(f"from epoch {first} on", pad=18)
        _name_curves(figure, [label for _, label in branches.values()])
        save_figure(figure, path)


def count_runs(records: Sequence[Record]) -> str:
    """Return the number of records in words."""
    return "one run" if len(records) == 1 else f"{len(records)} runs"


def look(k: int) -> dict[str, Any]:
    """Return the colour, line style and marker of the kth curve in every panel."""
    tables = {"color": COLORS, "linestyle": LINE_STYLES, "marker": MARKERS}
    return {key: table[k % len(table)] for key, table in tables.items()}


def _by_epoch(records: Sequence[Record], curve: str) -> np.ma.MaskedArray:
    """Return the mean over each epoch of a curve's finite values: (runs, epochs).

    Epochs without a finite value are masked.
    """
    curves = np.stack([record[curve] for record in records]).astype(np.float64)
    epochs = records[0].config["epochs"]
    if not curves.size:
        return np.ma.masked_all((len(records), epochs))
    finite = np.isfinite(curves)
    means = epoch_means(np.where(finite, curves, 0), epochs)
    return means / np.ma.masked_equal(epoch_means(finite, epochs), 0)


def _plot_band(axes: Axes, k: int, by_epoch: np.ma.MaskedArray, from_epoch: int = 0) -> None:
    """Draw the kth curve: the mean over the runs of (runs, epochs), and a band from low to high."""
    values = by_epoch[:, from_epoch:]
    epochs = from_epoch + np.arange(values.shape[1]) + 0.5
    every = max(1, len(epochs) // 25)
    axes.plot(epochs, values.mean(0), linewidth=1.8, markersize=4, markevery=every, **look(k))
    axes.fill_between(epochs, values.min(0), values.max(0), color=look(k)["color"], alpha=0.2,
                      linewidth=0)  # fmt: skip
    axes.set_xlabel("epoch")
    axes.locator_params(axis="x", nbins=8, integer=True)


def _plot_runs(axes: Axes, finished: Runs, curve: str, log_above: float = math.inf) -> None:
    """Draw a curve of all runs. The axis is logarithmic if a value is above `log_above`.

    With zeros among the values, it is linear from zero to the smallest positive value.
    """
    values: list[float] = []
    for k, records in enumerate(finished.values()):
        by_epoch = _by_epoch(records, curve)
        _plot_band(axes, k, by_epoch)
        values.extend(by_epoch.compressed())
    if max(values, default=0) > log_above:
        if min(values) > 0:
            axes.set_yscale("log")
        else:
            smallest = min(value for value in values if value > 0)
            axes.set_yscale("symlog", linthresh=smallest, linscale=2)  # room for the label of 0
            axes.locator_params(axis="y", numticks=6)


def _plot_losses(axes: Axes, finished: Runs, heading: str) -> None:
    """Draw losses, with a line at ln 10, the loss of uniform guessing, if losses are near it."""
    _plot_runs(axes, finished, "loss_curve", log_above=HUGE)
    axes.set(title=f"{heading}: training loss", ylabel="cross-entropy")
    if axes.dataLim.y0 < LN_10 < 1.1 * axes.dataLim.y1:
        axes.axhline(LN_10, color="black", linewidth=0.8, linestyle=(0, (4, 4)), zorder=0)
        axes.annotate("ln 10", (1, LN_10), xycoords=axes.get_yaxis_transform(), fontsize=8,
                      xytext=(2, 0), textcoords="offset points", va="center")  # fmt: skip


def _name_curves(figure: Figure, names: Sequence[str]) -> None:
    """Name the curves above the panels, as many on a line as there is room for."""
    handles = [Line2D([], [], markersize=4, label=name, **look(k)) for k, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside upper center", handlelength=3, columnspacing=1,
                  ncols=max(1, 130 // (max(map(len, names)) + 10)))  # fmt: skip


def save_figure(figure: Figure, path: Path, gray: bool = False) -> None:
    """Write the figure as a PNG and close it. Raises UserError if it cannot be written.

    Grayscale, or 256 colours, makes the file three times smaller.
    """
    picture, small = io.BytesIO(), io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    with Image.open(picture) as image:
        reduced = image.convert("L" if gray else "RGB")
        if not gray:
            reduced = reduced.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
        reduced.save(small, format="png", optimize=True, dpi=image.info["dpi"])
    write_atomically(path, small.getvalue())
