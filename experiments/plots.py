"""Draw what the course's helpers do not: how runs vary, and the schedules of part 5.

The module does not import utils.py, so that the course's own file can replace that. Each value is
the mean over an epoch, drawn at the epoch's middle, so that bands show how runs differ and not how
noisy a curve is. In part 3 a band is one standard deviation to either side of the mean. In parts 4
and 5 it extends from the lowest to the highest run. The line is the median in part 4, where runs
leave a plateau at different times, and the mean in part 5.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.aggregate import epoch_means
from experiments.records import Record
from experiments.storage import write_atomically

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

COLORS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"]  # Okabe and Ito, as in utils.py
LINE_STYLES: list[Any] = ["-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1))]
MARKERS = ["o", "s", "^", "D", "v"]
MOST = 8  # images and kernels of part 2 that are shown
LN_10 = np.log(10)  # the cross-entropy of ten equal probabilities
STYLE = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
         "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.5,
         "savefig.dpi": 140, "figure.constrained_layout.use": True}  # fmt: skip


def plot_convolution(images: np.ndarray, kernels: np.ndarray, out: np.ndarray, path: Path) -> None:
    """Draw the first images (left), kernels (top) and maps of part 2, each kind on one scale.

    images: (N, C, H, W), kernels: (O, C, h, w), out: (N, O, H', W'). The first channel is shown.
    Zero is medium gray in kernels and maps.
    """
    images, kernels, out = (np.asarray(array, np.float64) for array in (images, kernels, out))
    num_images, num_kernels = min(len(images), MOST), min(len(kernels), MOST)
    shape = (num_images + 1, num_kernels + 1)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(*shape, figsize=(shape[1], shape[0]), squeeze=False)
        for panel in axes.ravel():
            panel.axis("off")
        for row in range(num_images):
            axes[row + 1, 0].imshow(images[row, 0], cmap="gray")
        for column in range(num_kernels):
            _show_signed(axes[0, column + 1], kernels[column, 0], kernels[:, 0])
            axes[0, column + 1].set_title(f"kernel {column + 1}", fontsize=9)
            for row in range(num_images):
                _show_signed(axes[row + 1, column + 1], out[row, column], out)
        save_figure(figure, path, gray=True)


def _show_signed(axes: Axes, image: np.ndarray, scale: np.ndarray) -> None:
    """Show an image on the grayscale of all of `scale`, with zero in the middle."""
    limit = np.abs(scale[np.isfinite(scale)]).max(initial=0) or 1
    axes.imshow(image, cmap="gray", vmin=-limit, vmax=limit)


def plot_spread(finished: Mapping[str, Sequence[Record]], title: str, path: Path) -> None:
    """Draw how the runs of each architecture of part 3 vary, their gaps, and every run as a point.

    finished: records by architecture.
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(10, 7.4))
        (loss_axes, acc_axes), (gap_axes, run_axes) = axes
        for k, (name, records) in enumerate(finished.items()):
            style = look(k)
            label = f"{name} ({count_runs(records)})"
            train_acc = _by_epoch(records, "train_acc_curve")
            val_acc = _by_epoch(records, "val_acc_curve")
            _plot_band(loss_axes, _by_epoch(records, "loss_curve"), label=label, **style)
            _plot_band(acc_axes, val_acc, **style)
            gap_axes.plot(train_acc.mean(0), (train_acc - val_acc).mean(0), markersize=4, **style)
            tests = [record.test_acc for record in records]
            run_axes.plot(train_acc[:, -1], tests, **style | {"linestyle": "none", "alpha": 0.7})
        loss_axes.set(title=f"{title}: training loss", ylabel="cross-entropy", xlabel="epoch")
        acc_axes.set(title="validation accuracy", ylabel="accuracy (%)", xlabel="epoch")
        gap_axes.set(title="training minus validation accuracy, a point for each epoch",
                     xlabel="training accuracy (%)", ylabel="gap (percentage points)")  # fmt: skip
        run_axes.set(title="every run", ylabel="test accuracy (%)",
                     xlabel="training accuracy, last epoch (%)")  # fmt: skip
        _equal_scales(run_axes)
        figure.legend(loc="outside upper center", ncols=5, handlelength=3, columnspacing=1)
        save_figure(figure, path)


def plot_activation_spread(
    finished: Mapping[tuple[str, str], Sequence[Record]], title: str, path: Path
) -> None:
    """Draw how the runs of part 4 vary: ReLU on the left, the sigmoid on the right.

    finished: records by architecture and activation ("relu" or "sigmoid").
    """
    names = list(dict.fromkeys(name for name, _ in finished))
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(10, 6.6), sharex=True, sharey="row")
        for (name, activation), records in finished.items():
            column = axes[:, int(activation == "sigmoid")]
            style = look(names.index(name))
            label = f"{name} ({count_runs(records)})" if activation == "relu" else None
            _plot_range(column[0], _by_epoch(records, "loss_curve"), label=label, **style)
            _plot_range(column[1], _by_epoch(records, "grad_curve"), **style)
        for panel, activation in zip(axes[0], ("ReLU", "sigmoid"), strict=True):
            panel.set_title(f"{title}, {activation}: training loss")
            _mark_ln_10(panel)
        for panel in axes[1]:
            panel.set(title="gradient magnitude of the first layer", xlabel="epoch", yscale="log")
        axes[0, 0].set_ylabel("cross-entropy")
        axes[1, 0].set_ylabel("|dL/dW|")
        figure.legend(loc="outside upper center", ncols=5, handlelength=3, columnspacing=1)
        save_figure(figure, path)


def plot_learning_rates(
    name: str, finished: Mapping[str, Sequence[Record]], rates: Mapping[str, float], path: Path
) -> None:
    """Draw how the runs of part 5's constant learning rates vary.

    finished: records by the keys of `rates`, among others.
    """
    with plt.rc_context(STYLE):
        figure, (loss_axes, acc_axes) = plt.subplots(1, 2, figsize=(10, 4.2))
        for k, (key, rate) in enumerate(rates.items()):
            records = finished[key]
            label = f"learning rate {rate} ({count_runs(records)})"
            by_epoch = _by_epoch(records, "loss_curve")
            _plot_range(loss_axes, by_epoch, line=np.mean, label=label, **look(k))
            _plot_range(acc_axes, _by_epoch(records, "val_acc_curve"), line=np.mean, **look(k))
        loss_axes.set(title=f"{name}: training loss", ylabel="cross-entropy", xlabel="epoch")
        acc_axes.set(title="validation accuracy", ylabel="accuracy (%)", xlabel="epoch")
        for panel in (loss_axes, acc_axes):
            panel.locator_params(axis="x", integer=True)
        _mark_ln_10(loss_axes)
        figure.legend(loc="outside upper center", ncols=3, handlelength=3)
        save_figure(figure, path)


def plot_schedules(name: str, finished: Mapping[str, Sequence[Record]], path: Path) -> None:
    """Draw the validation accuracy of the two schedules of part 5 and of Adam.

    The right panel begins with the last epoch before the first drop. The schedules are the same as
    the constant rate up to the first drop, and the same as each other up to the second. What is
    common is drawn once.

    finished: records by "1" (constant learning rate 0.1), "one drop", "two drops" and "Adam".
    """
    config = finished["two drops"][0].config
    (first, second), (fast, medium, slow) = config["drop_epochs"], config["learning_rates"]
    branches = [
        ("1", 0, f"SGD {fast}"),
        ("one drop", first, f"SGD {fast} → {medium}"),
        ("two drops", second, f"SGD {fast} → {medium} → {slow}"),
        ("Adam", 0, f"Adam {finished['Adam'][0].config['learning_rates'][0]}"),
    ]
    with plt.rc_context(STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(10, 4.4), width_ratios=(2, 3))
        for axes, start_at in zip(panels, (0, first - 1), strict=True):
            for k, (key, start, label) in enumerate(branches):
                curves = _by_epoch(finished[key], "val_acc_curve")
                from_epoch = max(start - 1, start_at)
                style = look(k) | {"label": label if axes is panels[0] else None}
                _plot_range(axes, curves, from_epoch=from_epoch, line=np.mean, **style)
            for epoch, rate in ((first, medium), (second, slow)):
                axes.axvline(epoch, color="black", linewidth=0.8, linestyle=(0, (4, 3)))
                if axes is panels[1]:  # where there is room
                    axes.annotate(
                        f"{rate}", (epoch, 1), xycoords=axes.get_xaxis_transform(),
                        fontsize=9, xytext=(3, 2), textcoords="offset points",
                    )  # fmt: skip
            axes.set(xlabel="epoch", xlim=(start_at, config["epochs"]))
            axes.locator_params(axis="x", integer=True)
        panels[0].set_ylabel("validation accuracy (%)")
        count = count_runs(finished["two drops"])
        panels[0].set_title(f"{name}, {count} of each", pad=18)
        panels[1].set_title(f"from epoch {first} on", pad=18)
        figure.legend(loc="outside upper center", ncols=4, handlelength=3, columnspacing=1.5)
        save_figure(figure, path)


def count_runs(records: Sequence[Record]) -> str:
    """Return the number of records in words."""
    return f"{len(records)} runs" if len(records) > 1 else "one run"


def look(k: int) -> dict[str, Any]:
    """Return the colour, line style and marker of the kth thing in every panel."""
    return {"color": COLORS[k], "linestyle": LINE_STYLES[k], "marker": MARKERS[k]}


def _by_epoch(records: Sequence[Record], curve: str) -> np.ndarray:
    """Return a curve's mean over each epoch: (runs, epochs). It is NaN if a point is not finite."""
    curves = np.stack([record[curve] for record in records]).astype(np.float64)
    curves[~np.isfinite(curves)] = np.nan
    return epoch_means(curves, records[0].config["epochs"])


def _plot_band(axes: Axes, by_epoch: np.ndarray, **style: Any) -> None:
    """Draw the mean over the runs of (runs, epochs) with a band of one standard deviation."""
    mean = by_epoch.mean(axis=0)
    deviation = by_epoch.std(axis=0, ddof=1) if len(by_epoch) > 1 else 0 * mean
    _draw(axes, 0, mean, mean - deviation, mean + deviation, **style)


def _plot_range(
    axes: Axes, by_epoch: np.ndarray, from_epoch: int = 0, line=np.median, **style: Any
) -> None:
    """Draw a line through (runs, epochs) with a band from the lowest to the highest run."""
    values = by_epoch[:, from_epoch:]
    lines = (function(values, axis=0) for function in (line, np.min, np.max))
    _draw(axes, from_epoch, *lines, **style)


def _draw(axes: Axes, from_epoch: int, centre, low, high, **style: Any) -> None:
    """Draw a line and a band around it, a value for each epoch, at the middle of the epochs."""
    epoch = from_epoch + np.arange(len(centre)) + 0.5
    axes.plot(epoch, centre, linewidth=1.8, markersize=4, **style)
    axes.fill_between(epoch, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _mark_ln_10(axes: Axes) -> None:
    """Draw a line at ln 10, the loss of uniform guessing, if losses are near it."""
    if axes.dataLim.y0 < LN_10 < 1.5 * axes.dataLim.y1:
        axes.axhline(LN_10, color="black", linewidth=0.8, linestyle=(0, (4, 4)), zorder=0)
        axes.annotate("ln 10", (1, LN_10), xycoords=axes.get_yaxis_transform(), fontsize=8,
                      xytext=(2, 0), textcoords="offset points", va="center")  # fmt: skip


def _equal_scales(axes: Axes) -> None:
    """Give both axes the same scale and range, and draw where both are equal."""
    low = min(axes.get_xlim()[0], axes.get_ylim()[0])
    high = max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.set(xlim=(low, high), ylim=(low, high), aspect="equal", anchor="N")
    axes.axline((low, low), slope=1, color="gray", linewidth=0.8, zorder=0)


def save_figure(figure: Figure, path: Path, gray: bool = False, colors: int = 64) -> None:
    """Write the figure as a PNG of a few colours, which is three times smaller, or in grayscale."""
    picture, small = io.BytesIO(), io.BytesIO()
    figure.savefig(picture, format="png")
    plt.close(figure)
    with Image.open(picture) as image:
        reduced = image.convert("L" if gray else "RGB")
        if not gray:
            reduced = reduced.quantize(colors, dither=Image.Dither.NONE)
        reduced.save(small, format="png", optimize=True, dpi=image.info["dpi"])
    write_atomically(path, small.getvalue())
