"""The course's plotting helpers, written anew: same names and arguments.

This file imports nothing else of the package, and the course's own utils.py can take its place.
All helpers create SAVE_DIR, save FILENAME.png there (named after the helper if there is no name)
and close the figure. A window opens only if there is a display. Curves have a point every 10 steps,
accuracies are percent; where a curve is as long as the assignment's full training, the axis above
the figure counts epochs. Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/);
line styles and markers differ as well.
"""

import math
import os
import socket
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator

COLORS = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000"]
LINE_STYLES = ["-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1)), "--", "-."]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
STEPS_PER_POINT = 10
EPOCHS = {1350: 15, 1500: 15, 1800: 20}  # of parts 3, 4 and 5, by the number of points of a curve
STYLE = {
    "font.size": 11,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
}


def part2Plots(out, nmax: int = 64, save_dir: str = "", filename: str = "") -> None:
    """Show the maps of a convolution: a row for each image, a column for each kernel.

    out: (N, O, H, W) array or tensor; the first `nmax` of its N * O maps are shown, on one scale.
    """
    maps = np.asarray(out)
    if maps.ndim != 4:
        raise ValueError(f"out has shape {maps.shape}, not (images, kernels, height, width)")
    columns = maps.shape[1]
    maps = maps.reshape(-1, *maps.shape[2:])[:nmax]
    rows = math.ceil(len(maps) / columns)
    with plt.rc_context(STYLE):
        figure, axes = _image_grid(rows, columns, maps)
        for column in range(columns):
            axes[0, column].set_title(f"kernel {column + 1}")
        for row in range(rows):
            axes[row, 0].set_ylabel(f"image {row + 1}")
        _save(figure, save_dir, filename or "part2Plots")


def part3Plots(
    results: Sequence[dict], save_dir: str = "", filename: str = "", show_plot: bool = True
) -> None:
    """Compare trainings in four panels: loss, accuracies, test and validation against training.

    results: dictionaries with 'name', 'loss_curve', 'train_acc_curve', 'val_acc_curve' (sequences
    of floats) and 'test_acc' (float).
    """
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(10, 8))
        (loss_axes, acc_axes), (test_axes, val_axes) = axes
        for k, result in enumerate(results):
            train_acc, val_acc = result["train_acc_curve"], result["val_acc_curve"]
            _plot_curve(loss_axes, result["loss_curve"], k)
            _plot_curve(acc_axes, train_acc, k, markerfacecolor="white", linewidth=1)
            _plot_curve(acc_axes, val_acc, k)
            _plot_against(val_axes, train_acc, val_acc, k)
            if len(train_acc):
                point = _smooth(train_acc)[-1], result["test_acc"]
                test_axes.plot(*point, **_look(k, linestyle="none", markersize=8))
        loss_axes.set(title="training loss", ylabel="cross-entropy")
        acc_axes.set(title="training and validation accuracy", ylabel="accuracy (%)")
        meaning = [("white", 1, "training"), (None, 2, "validation")]
        acc_axes.legend(
            handles=[
                Line2D([], [], color="gray", marker="o", markerfacecolor=face or "gray",
                       linewidth=width, label=text)
                for face, width, text in meaning
            ],
            loc="lower right",
        )  # fmt: skip
        test_axes.set(title="test against training accuracy", ylabel="test accuracy (%)")
        val_axes.set(title="validation against training accuracy", ylabel="validation accuracy (%)")
        for panel in (test_axes, val_axes):
            panel.set_xlabel("training accuracy at the end (%)" if panel is test_axes
                             else "training accuracy (%)")  # fmt: skip
            highest = panel.dataLim.y1
            if np.isfinite(highest):
                panel.axline((highest, highest), slope=1, color="gray", linewidth=0.8, zorder=0)
            panel.autoscale_view()
        for panel in (loss_axes, acc_axes):
            _label_steps(panel, [result["loss_curve"] for result in results])
        _name_trainings(figure, results)
        _finish(figure, save_dir, filename or "part3Plots", show_plot)


def part4Plots(
    results: Sequence[dict], save_dir: str = "", filename: str = "", show_plot: bool = True
) -> None:
    """Compare ReLU (solid) with sigmoid (dotted): training losses and gradient magnitudes.

    results: dictionaries with 'name', 'relu_loss_curve', 'sigmoid_loss_curve', 'relu_grad_curve'
    and 'sigmoid_grad_curve' (sequences of floats). The magnitudes are on a log scale, and so are
    losses above 3 if there are huge ones. Named are those magnitudes that are zero at every point.
    """
    styles = {"relu": "-", "sigmoid": (0, (1, 1.2))}
    names = {"relu": "ReLU", "sigmoid": "sigmoid"}
    losses = [result[f"{activation}_loss_curve"] for result in results for activation in styles]
    # On unscaled inputs the first losses can be huge, and hide all others on a linear scale
    log = any(loss > 100 for curve in losses for loss in curve if math.isfinite(loss))
    with plt.rc_context(STYLE):
        figure, (loss_axes, grad_axes) = plt.subplots(1, 2, figsize=(10, 5))
        magnitudes, zeros = [], []
        for k, result in enumerate(results):
            for activation, style in styles.items():
                grad_curve = result[f"{activation}_grad_curve"]
                _plot_curve(loss_axes, result[f"{activation}_loss_curve"], k, log, linestyle=style)
                magnitudes.extend(_plot_curve(grad_axes, grad_curve, k, linestyle=style))
                if len(grad_curve) and not np.any(grad_curve):
                    name = f"{result['name']}, {names[activation]}"
                    zeros.append(Line2D([], [], label=name, **_look(k, linestyle=style)))
        loss_axes.set(title="training loss", ylabel="cross-entropy")
        if log:
            loss_axes.set_yscale("symlog", linthresh=3, linscale=5)  # linear up to 3
            loss_axes.set_ylim(bottom=0)
            loss_axes.yaxis.set_major_locator(
                FixedLocator([0, 1, 2, 3, *10.0 ** np.arange(1, 39, 2)])
            )
            loss_axes.yaxis.set_major_formatter(
                lambda loss, _: f"{loss:g}" if loss < 100 else f"$10^{{{math.log10(loss):.0f}}}$"
            )
        grad_axes.set(title="gradient magnitude, first layer", ylabel="|dL/dW|")
        grad_axes.set_yscale("log", nonpositive="mask")
        if lowest := min((size for size in magnitudes if size > 0), default=None):
            # Single points may be tiny; what is zero throughout takes the room at the bottom
            grad_axes.set_ylim(bottom=lowest / (1e5 if zeros else 10))
        if zeros:
            grad_axes.legend(handles=zeros, title="zero, below this scale:", loc="lower right",
                             fontsize=9, frameon=True, framealpha=1)  # fmt: skip
        loss_axes.legend(
            handles=[
                Line2D([], [], color="gray", linestyle=style, label=names[activation])
                for activation, style in styles.items()
            ]
        )
        for panel in (loss_axes, grad_axes):
            _label_steps(panel, [result["relu_loss_curve"] for result in results])
        _name_trainings(figure, results, linestyle="-")
        _finish(figure, save_dir, filename or "part4Plots", show_plot)


def part5Plots(
    result: dict | Sequence[dict], save_dir: str = "", filename: str = "", show_plot: bool = True
) -> None:
    """Compare the learning rates 0.1, 0.01 and 0.001: training losses, validation accuracies.

    result: a dictionary, or a sequence of one, with 'name' and, for each suffix in '1', '01' and
    '001', 'loss_curve_<suffix>' and 'val_acc_curve_<suffix>' (sequences of floats).
    """
    if isinstance(result, list | tuple):
        (result,) = result
    with plt.rc_context(STYLE):
        figure, (loss_axes, acc_axes) = plt.subplots(1, 2, figsize=(10, 5))
        names = []
        for k, suffix in enumerate(("1", "01", "001")):
            _plot_curve(loss_axes, result[f"loss_curve_{suffix}"], k)
            _plot_curve(acc_axes, result[f"val_acc_curve_{suffix}"], k)
            names.append({"name": f"learning rate 0.{suffix}"})
        loss_axes.set(title=f"training loss of {result['name']}", ylabel="cross-entropy")
        acc_axes.set(title=f"validation accuracy of {result['name']}", ylabel="accuracy (%)")
        for panel in (loss_axes, acc_axes):
            _label_steps(panel, [result["loss_curve_1"]])
        _name_trainings(figure, names)
        _finish(figure, save_dir, filename or "part5Plots", show_plot)


def visualizeWeights(weights, save_dir: str, filename: str = "weights") -> None:
    """Show the weights of a first layer as a grid of images on one gray scale.

    weights: (units, 1024), each row shown as 32x32, or (kernels, 1, h, w).
    """
    weights = np.asarray(weights)
    if weights.ndim == 2 and weights.shape[1] == 32 * 32:
        images = weights.reshape(-1, 32, 32)
    elif weights.ndim == 4 and weights.shape[1] == 1:
        images = weights[:, 0]
    else:
        raise ValueError(f"weights have shape {weights.shape}, not (units, 1024) or (n, 1, h, w)")
    columns = 8 if len(images) > 4 else len(images)
    with plt.rc_context(STYLE | {"font.size": 16}):
        figure, axes = _image_grid(math.ceil(len(images) / columns), columns, images, limit=True)
        figure.colorbar(axes[0, 0].images[0], ax=axes, label="weight", shrink=0.9)
        _save(figure, save_dir, filename)


def visualizeDataset(
    images, labels, save_dir: str, filename: str = "dataset", num_samples_per_class: int = 8
) -> None:
    """Show the first samples of each class, a row for each.

    images: (N, 32, 32), (N, 1, 32, 32) or (N, 1024) of any range; labels: (N,) integers.
    """
    images, labels = np.asarray(images).reshape(-1, 32, 32), np.asarray(labels)
    classes = np.unique(labels)
    blank = np.full((32, 32), np.nan)  # where a class has fewer samples
    samples = [[*images[labels == c][:num_samples_per_class]] for c in classes]
    tiles = [tile for row in samples for tile in row + [blank] * (num_samples_per_class - len(row))]
    with plt.rc_context(STYLE):
        figure, axes = _image_grid(len(classes), num_samples_per_class, tiles)
        for row, label in enumerate(classes):
            axes[row, 0].set_ylabel(str(label), rotation=0, ha="right", va="center")
        _save(figure, save_dir, filename)


def _look(k: int, **changes) -> dict:
    """How the kth training looks in every panel."""
    look = {
        "color": COLORS[k % len(COLORS)],
        "linestyle": LINE_STYLES[k % len(LINE_STYLES)],
        "marker": MARKERS[k % len(MARKERS)],
        "markersize": 5,
        "linewidth": 2,
    }
    return look | changes


def _smooth(curve: Sequence[float]) -> np.ndarray:
    """The mean of the finite values around each point, over a thirtieth of the curve.

    The window narrows towards the start, where curves are steep, and is cut off at the end.
    """
    values = np.asarray(curve, dtype=np.float64)
    finite, index = np.isfinite(values), np.arange(len(values))
    half_width = np.minimum(len(values) // 60, index)
    first, end = index - half_width, np.minimum(index + half_width + 1, len(values))
    sums = np.concatenate([[0.0], np.cumsum(np.where(finite, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    count = counts[end] - counts[first]
    return np.where(finite & (count > 0), sums[end] - sums[first], np.nan) / np.maximum(count, 1)


def _plot_curve(
    axes: Axes, curve: Sequence[float], k: int, log: bool = False, **changes
) -> np.ndarray:
    """The raw curve pale, the smoothed one strong; with `log` by geometric means. Returns it."""
    if not len(curve):
        return np.zeros(0)
    look = _look(k, **changes)
    steps = STEPS_PER_POINT * np.arange(1, len(curve) + 1)
    raw = np.where(np.isfinite(curve), curve, np.nan)
    axes.plot(steps, raw, ".", color=look["color"], alpha=0.3, markersize=2, mew=0, zorder=1)
    every = max(1, len(curve) // 8)
    smooth = np.exp(_smooth(np.log(np.where(raw > 0, raw, np.nan)))) if log else _smooth(curve)
    axes.plot(steps, smooth, markevery=(k * every // 8, every), **look)
    return smooth


def _plot_against(axes: Axes, x: Sequence[float], y: Sequence[float], k: int) -> None:
    """One smoothed curve against another."""
    if len(x):
        axes.plot(_smooth(x), _smooth(y), markevery=max(1, len(x) // 8), **_look(k))


def _label_steps(axes: Axes, curves: Sequence[Sequence[float]]) -> None:
    """Steps below, and above the epochs of a full training."""
    axes.set_xlabel("step")
    axes.locator_params(axis="x", nbins=6)  # more labels of five digits would touch
    lengths = {len(curve) for curve in curves}
    if len(lengths) == 1 and (length := lengths.pop()) in EPOCHS:
        steps_per_epoch = STEPS_PER_POINT * length / EPOCHS[length]
        above = axes.secondary_xaxis(
            "top", functions=(lambda s: s / steps_per_epoch, lambda e: e * steps_per_epoch)
        )
        above.locator_params(axis="x", nbins=8, integer=True)
        above.set_xlabel(f"epoch of {steps_per_epoch:.0f} steps")


def _name_trainings(figure: Figure, results: Sequence[dict], **changes) -> None:
    handles = [
        Line2D([], [], label=result["name"], **_look(k, **changes))
        for k, result in enumerate(results)
    ]
    longest = max((len(str(result["name"])) for result in results), default=0)
    columns = max(1, min(len(handles), 110 // (longest + 10)))  # about 110 letters fit on a line
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, handlelength=4)


def _image_grid(rows: int, columns: int, images, limit: bool = False) -> tuple[Figure, np.ndarray]:
    """Gray images in a grid on one scale, which with `limit` is symmetric around zero."""
    finite = np.concatenate([np.ravel(image)[np.isfinite(np.ravel(image))] for image in images])
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 1)
    if limit:
        high = max(abs(low), abs(high))
        low = -high
    size = (columns + 1.3 * limit, rows)  # with room for a colour bar
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for panel in axes.ravel():
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for panel, image in zip(axes.ravel(), images, strict=False):
        panel.imshow(image, cmap="gray", vmin=low, vmax=high)
    return figure, axes


def _finish(figure: Figure, save_dir: str, filename: str, show_plot: bool) -> None:
    if show_plot and figure.canvas.required_interactive_framework:
        plt.show()
    _save(figure, save_dir, filename)


def _save(figure: Figure, save_dir: str, filename: str) -> None:
    """Write the picture beside its place and rename it, so that it is whole or not there."""
    folder = Path(save_dir or ".")
    temporary = folder / f".{filename}.png.{socket.gethostname()}.{os.getpid()}.tmp"
    try:
        if Path(filename).name != filename:
            raise ValueError(f"filename {filename!r} is not the name of a file in save_dir")
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(temporary, format="png")
        os.replace(temporary, folder / f"{filename}.png")
    except OSError as error:
        error.filename = str(folder / f"{filename}.png")  # a full disk leaves this out
        raise
    finally:
        plt.close(figure)
        temporary.unlink(missing_ok=True)
