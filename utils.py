"""The course's plotting helpers, written anew: same names, arguments and dictionary keys.

This file imports nothing else of the package, and the course's own utils.py can take its place.
Each helper saves SAVE_DIR/FILENAME.png and closes the figure. The folder is created, and the name
has a default. With `show_plot` the figure is also shown, in a window or below a notebook's cell.

A curve has a point every 10 steps, so the time axis counts steps. It counts epochs if every
dictionary has a further key, 'epochs': the number of epochs that its curves span. Dots are points,
lines are running means. Values that are not finite leave gaps. Accuracies may be percent or from 0
to 1. Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/). Line styles and markers
differ as well, for black and white.
"""

import contextlib
import io
import math
import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

# No two of the lengths have a common factor, so the first 210 curves all look different
COLORS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000"]
LINE_STYLES = ["-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1))]
MARKERS = ["o", "s", "^", "D", "v", "P"]
TRAINING = {"markerfacecolor": "white", "linewidth": 1}  # beside validation
STEPS_PER_POINT = 10
LN_10 = math.log(10)  # the cross-entropy of ten equal probabilities
HUGE = 20  # a loss above this would flatten all others on a linear axis
MOST_DECADES = 12  # of a logarithmic axis that panels share
STYLE = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
         "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.5,
         "savefig.dpi": 140, "figure.constrained_layout.use": True}  # fmt: skip


def part2Plots(out, nmax: int = 64, save_dir: str = "", filename: str = "") -> None:
    """Show the maps of a convolution: a row for each image, a column for each kernel.

    out: (N, O, H, W) array or tensor of real numbers. The first `nmax` of its N * O maps are shown,
    all on one scale. Raises ValueError for other shapes.
    """
    maps = np.asarray(out)
    if maps.ndim != 4:
        raise ValueError(f"out has shape {maps.shape}, not (images, kernels, height, width)")
    kernels = maps.shape[1]
    maps = maps.reshape(len(maps) * kernels, *maps.shape[2:])[:nmax]
    with plt.rc_context(STYLE):
        figure, axes = _image_grid(maps, columns=min(kernels, len(maps)))
        for column, panel in enumerate(axes[0]):
            panel.set_title(f"kernel {column + 1}")
        for row, panel in enumerate(axes[:, 0]):
            panel.set_ylabel(f"image {row + 1}")
        _finish(figure, save_dir, filename or "part2Plots", gray=True)


def part3Plots(results, save_dir: str = "", filename: str = "", show_plot: bool = True) -> None:
    """Compare architectures: loss, accuracies, test accuracy and gap against training accuracy.

    results: dictionaries with 'name', 'loss_curve', 'train_acc_curve', 'val_acc_curve' (sequences
    of floats) and 'test_acc' (float). Up to three families of names, such as "mlp_1" and "mlp_2",
    have a panel of accuracies each. The gap is training minus validation accuracy.
    """
    results = _prepare(results)
    families = {}  # by the letters that the names begin with
    for result in results:
        families.setdefault(re.match("[^_0-9]*", result["short"]).group(), []).append(result)
    if len(families) > 3:
        families = {"": results}
    unit = _accuracy_unit([v for r in results for v in (*r["train_acc_curve"], r["test_acc"])])
    rows = math.ceil((len(families) + 4) / 2)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(rows, 2, figsize=(9, 3 * rows))
        loss_axes, *acc_axes, gap_axes, test_axes = axes.ravel()[: len(families) + 3]
        _plot_losses(loss_axes, results, "loss_curve")
        loss_axes.set(title="training loss", ylabel="cross-entropy")
        for panel, (family, members) in zip(acc_axes, families.items(), strict=True):
            _plot_curves(panel, members, "train_acc_curve", **TRAINING)
            _plot_curves(panel, members, "val_acc_curve")
            panel.set(title=f"accuracy, {family}".strip(", "), ylabel=f"accuracy{unit}")
        for result in results:
            accs = (result[f"{kind}_acc_curve"] for kind in ("train", "val"))
            # A fifteenth of a curve, an epoch of the assignment, has one point here
            train_acc, val_acc = (_smooth(a, 15)[:: -max(1, len(a) // 15)] for a in accs)
            if len(train_acc) == len(val_acc):
                gap_axes.plot(train_acc, train_acc - val_acc, **_look(result["k"]))
            look = _look(result["k"], linestyle="none", markersize=8)
            test_axes.plot(result["test_acc"], result["k"], **look)
        gap_axes.set(title="training minus validation accuracy", xlabel=f"training accuracy{unit}",
                     ylabel="gap" + unit.replace("%", "percentage points"))  # fmt: skip
        test_axes.set(title="best test accuracy", xlabel=f"test accuracy{unit}")
        test_axes.set_yticks(range(len(results)), [result["short"] for result in results])
        test_axes.margins(0.15)
        test_axes.invert_yaxis()
        for panel in axes.ravel()[len(families) + 3 :]:
            panel.axis("off")
        kinds = [Line2D([], [], label=label, **_look(0, color="gray", **changes))
                 for label, changes in (("training", TRAINING), ("validation", {}))]  # fmt: skip
        panel.legend(handles=_handles(results) + kinds, loc="center", handlelength=4,
                     ncols=1 + len(results) // 11)  # fmt: skip
        _finish(figure, save_dir, filename or "part3Plots", show_plot)


def part4Plots(results, save_dir: str = "", filename: str = "", show_plot: bool = True) -> None:
    """Compare activation functions, a column for each: training losses and gradient magnitudes.

    results: dictionaries with 'name' and, for each activation such as 'relu' and 'sigmoid',
    '<activation>_loss_curve' and '<activation>_grad_curve' (sequences of floats). The magnitudes
    are on a logarithmic axis. An inset counts the points that a panel cannot show.
    """
    results = _prepare(results)
    suffix = "_loss_curve"
    keys = dict.fromkeys(key for result in results for key in result if key.endswith(suffix))
    with plt.rc_context(STYLE):
        columns = max(1, len(keys))
        size = (5 * columns, 7)
        figure, axes = plt.subplots(2, columns, figsize=size, sharex=True, squeeze=False)
        for (loss_axes, grad_axes), loss_key in zip(axes.T, keys, strict=False):
            activation = loss_key.removesuffix(suffix)
            name = {"relu": "ReLU"}.get(activation, activation)
            _plot_losses(loss_axes, results, loss_key)
            _plot_curves(grad_axes, results, f"{activation}_grad_curve", log_above=0)
            loss_axes.set(title=f"training loss, {name}", xlabel="")
            grad_axes.set_title(f"gradient magnitude of the first layer, {name}")
        for row, label in zip(axes, ("cross-entropy", "|dL/dW|"), strict=True):
            row[0].set_ylabel(label)
            scales, ends = {p.get_yscale() for p in row}, [end for p in row for end in p.get_ylim()]
            apart = scales == {"log"} and max(ends) > min(ends) * 10**MOST_DECADES
            if len(scales) == 1 and not apart:  # one range for all, unless it flattens curves
                plt.setp(row, ylim=(min(ends), max(ends)))
        _name_curves(figure, results)
        _finish(figure, save_dir, filename or "part4Plots", show_plot)


def part5Plots(result, save_dir: str = "", filename: str = "", show_plot: bool = True) -> None:
    """Compare learning rates: training losses and validation accuracies.

    result: a dictionary, or a sequence of one, with 'name' and, for each learning rate "0.<digits>"
    such as "0.01", 'loss_curve_<digits>' and 'val_acc_curve_<digits>' (sequences of floats).
    """
    if isinstance(result, list | tuple):
        (result,) = result
    prefix = "loss_curve_"
    rates = _prepare([
        result | {"name": _rate_name(key.removeprefix(prefix)), "loss_curve": result[key],
                  "val_acc_curve": result[key.replace("loss", "val_acc", 1)]}
        for key in result if key.startswith(prefix)
    ])  # fmt: skip
    unit = _accuracy_unit([value for rate in rates for value in rate["val_acc_curve"]])
    with plt.rc_context(STYLE):
        figure, (loss_axes, acc_axes) = plt.subplots(1, 2, figsize=(10, 4.2))
        _plot_losses(loss_axes, rates, "loss_curve")
        loss_axes.set(title=f"training loss of {result['name']}", ylabel="cross-entropy")
        _plot_curves(acc_axes, rates, "val_acc_curve")
        acc_axes.set(title=f"validation accuracy of {result['name']}", ylabel=f"accuracy{unit}")
        _name_curves(figure, rates)
        _finish(figure, save_dir, filename or "part5Plots", show_plot)


def visualizeWeights(weights, save_dir: str, filename: str = "weights") -> None:
    """Show the weights of a first layer as a grid of images on one gray scale.

    weights: array or tensor, (kernels, channels, h, w), of which the first channel is shown, or
    (units, inputs), each row shown as a square, 32x32 for 1024 inputs, or else as a line. Zero is
    medium gray. The scale ends where 2 % of the weights are beyond it, so that shapes can be seen.
    """
    weights = np.asarray(weights)
    if weights.ndim == 4:
        images = weights[:, 0]
    else:
        side = math.isqrt(weights.shape[1])
        images = weights.reshape(len(weights), side if side**2 == weights.shape[1] else 1, -1)
    with plt.rc_context(STYLE | {"font.size": 16}):
        figure, axes = _image_grid(images, columns=min(8, len(images)), signed=True)
        figure.colorbar(axes[0, 0].images[0], ax=axes, label="weight", shrink=0.9, extend="both")
        _finish(figure, save_dir, filename or "weights", gray=True)


def visualizeDataset(
    images, labels, save_dir: str, filename: str = "dataset", num_samples_per_class: int = 8
) -> None:
    """Show the first samples of each class, a row for each class.

    images: (N, 32, 32), (N, 1, 32, 32) or (N, 1024) of any range; labels: (N,) integers.
    """
    images, labels = np.asarray(images).reshape(-1, 32, 32), np.asarray(labels)
    classes = np.unique(labels)
    tiles = np.full((len(classes), num_samples_per_class, 32, 32), np.nan)
    for row, label in zip(tiles, classes, strict=True):
        samples = images[labels == label][:num_samples_per_class]
        row[: len(samples)] = samples  # the rest stays blank
    with plt.rc_context(STYLE):
        figure, axes = _image_grid(tiles.reshape(-1, 32, 32), num_samples_per_class)
        for panel, label in zip(axes[:, 0], classes, strict=False):
            panel.set_ylabel(str(label), rotation=0, ha="right", va="center")
        _finish(figure, save_dir, filename or "dataset", gray=True)


# ---- Curves


def _prepare(results: list[dict]) -> list[dict]:
    """Return copies with three more keys, on which the panels of a figure have to agree.

    'k' is the place of a result, 'short' its name without a suffix such as " (quick)", and 'epochs'
    is None unless all results have it.
    """
    agreed = all("epochs" in result for result in results)
    return [
        result | {"k": k, "short": str(result["name"]).partition(" (")[0],
                  "epochs": result["epochs"] if agreed else None}
        for k, result in enumerate(results)
    ]  # fmt: skip


def _rate_name(digits: str) -> str:
    """Return "learning rate 0.01" of "01"; digits with a point are the whole rate."""
    return f"learning rate {digits if '.' in digits else f'0.{digits}'}"


def _look(k: int, **changes) -> dict:
    """Return how the kth curve looks in every panel."""
    color, line, marker = (table[k % len(table)] for table in (COLORS, LINE_STYLES, MARKERS))
    look = {"color": color, "linestyle": line, "marker": marker, "markersize": 5, "linewidth": 2}
    return look | changes


def _accuracy_unit(values: Sequence[float]) -> str:
    """Return " (%)", or nothing if the accuracies are from 0 to 1."""
    return "" if max(filter(math.isfinite, values), default=100) <= 1 else " (%)"


def _smooth(curve: Sequence[float], parts: int = 30) -> np.ndarray:
    """Return the mean of the finite values around each finite point.

    The window is the curve's length divided by `parts`. It narrows towards the start, where curves
    are steep, and is cut off at the end.
    """
    values = np.where(np.isfinite(curve), np.asarray(curve, np.float64), np.nan)
    half_widths = np.minimum(len(values) // (2 * parts), np.arange(len(values)))
    return np.array([
        np.nanmean(values[k - half : k + half + 1]) if np.isfinite(values[k]) else np.nan
        for k, half in enumerate(half_widths)
    ])  # fmt: skip


def _plot_curves(axes: Axes, results: list[dict], key: str, log_above=math.inf, **changes) -> None:
    """Draw a curve of each result: pale points, and a strong line of running means.

    If a finite value is above `log_above`, the axis is logarithmic, and the means are geometric.
    Only positive values are shown then. An inset counts the points that are not shown.
    """
    curves = [np.asarray(result[key], np.float64) for result in results]
    log = any(np.any(np.isfinite(curve) & (curve > log_above)) for curve in curves)
    if log:
        axes.set_yscale("log")
    absent = []
    for result, curve in zip(results, curves, strict=True):
        k, epochs, points = result["k"], result["epochs"], len(curve)
        axes.set_xlabel("step" if epochs is None else "epoch")
        span = STEPS_PER_POINT * points if epochs is None else epochs
        times = np.arange(1, points + 1) * span / max(1, points)
        values = np.where(np.isfinite(curve) & ((curve > 0) | (not log)), curve, np.nan)
        smooth = np.exp(_smooth(np.log(values))) if log else _smooth(values)
        shown = np.flatnonzero(np.isfinite(smooth))
        every = max(1, len(shown) // 8)
        marked = shown[k % 8 * every // 8 :: every].tolist()  # of each curve at other places
        look = _look(k, **changes)
        axes.plot(times, values, ".", color=look["color"], alpha=0.25, markersize=2, mew=0,
                  zorder=1)  # fmt: skip
        axes.plot(times, smooth, markevery=marked, **look)
        for kind, where in (("zero", log & (curve == 0)), ("not finite", ~np.isfinite(curve))):
            if count := np.count_nonzero(where):
                share = "all" if count == points else f"{count:,} of {points:,}"
                absent.append(f"{result['short']}: {share} points {kind}")
    axes.locator_params(axis="x", nbins=6, integer=True)
    if absent:
        y, va = (0.97, "top") if log_above else (0.03, "bottom")  # losses fall, gradients rise
        axes.text(0.98, y, "\n".join(["not on this axis:", *absent]), va=va, ha="right",
                  transform=axes.transAxes, fontsize=9.5,
                  bbox={"facecolor": "white", "edgecolor": "lightgray", "alpha": 0.9})  # fmt: skip


def _plot_losses(axes: Axes, results: list[dict], key: str) -> None:
    """Draw losses, with a line at ln 10, the loss of uniform guessing, if losses are near it."""
    _plot_curves(axes, results, key, log_above=HUGE)
    if axes.dataLim.y0 < LN_10 < 1.1 * axes.dataLim.y1:
        axes.axhline(LN_10, color="black", linewidth=0.8, linestyle=(0, (4, 4)), zorder=0)
        axes.annotate("ln 10", (1, LN_10), xycoords=axes.get_yaxis_transform(), fontsize=8,
                      xytext=(2, 0), textcoords="offset points", va="center")  # fmt: skip


def _handles(results: list[dict]) -> list[Line2D]:
    return [Line2D([], [], label=result["name"], **_look(result["k"])) for result in results]


def _name_curves(figure: Figure, results: list[dict]) -> None:
    """Name the curves above the panels, where the legend hides no curve."""
    longest = max((len(str(result["name"])) for result in results), default=0)
    columns = max(1, min(len(results), 130 // (longest + 10)))  # about 130 letters fit on a line
    figure.legend(handles=_handles(results), loc="outside upper center", ncols=columns,
                  handlelength=3.5, columnspacing=1.2)  # fmt: skip


# ---- Images and files


def _image_grid(images: np.ndarray, columns: int, signed: bool = False) -> tuple:
    """Draw (n, h, w) gray images in a grid on one scale, with `signed` symmetric around zero."""
    images = images if len(images) else np.full((1, 1, 1), np.nan)
    rows, columns = math.ceil(len(images) / max(1, columns)), max(1, columns)
    finite = images[np.isfinite(images)] if np.isfinite(images).any() else np.zeros(1)
    low, high = finite.min(), finite.max()
    if signed:
        high = np.quantile(abs(finite), 0.98) or abs(finite).max() or 1
        low = -high
    size = (columns + 1.3 * signed, max(rows, 1.4))  # with room for a colour bar
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False)
    for panel in axes.ravel():
        panel.set(xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
    for panel, image in zip(axes.ravel(), images, strict=False):
        panel.imshow(image, cmap="gray", vmin=low, vmax=high)
    return figure, axes


def _finish(figure: Figure, save_dir: str, filename: str, show_plot=False, gray=False) -> None:
    """Save the figure atomically, show it if asked to, and close it.

    Grayscale, or 256 colours, makes the file three times smaller. An OSError names the picture.
    """
    path = Path(save_dir, f"{filename}.png")
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    picture = io.BytesIO()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, format="png")
        with Image.open(picture) as image:
            small = image.convert("L" if gray else "RGB")
            if not gray:
                small = small.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1)
            small.save(temporary, format="png", optimize=True, dpi=image.info["dpi"])
        os.replace(temporary, path)
    except OSError as error:
        error.filename = str(path)  # a full disk leaves this out
        raise
    else:
        if show_plot and plt.get_backend().lower() != "agg":  # which shows nothing and may warn
            plt.show()
    finally:
        plt.close(figure)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
