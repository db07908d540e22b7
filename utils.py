"""The course's plotting helpers, written anew: same names, arguments and keys.

This file imports nothing else of the package, and the course's own utils.py can take its place.
Each helper creates SAVE_DIR, saves FILENAME.png there (it has a default) and closes the figure. A
window opens only if there is a display. Curves have a point every 10 steps. The axis counts epochs
where a curve is as long as the assignment's full run, else steps. Accuracies may be percent or from
0 to 1. Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/); line styles and
markers differ as well.
"""

import contextlib
import io
import math
import os
import re
import socket
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

COLORS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#000000"]
LINE_STYLES = ["-", (0, (6, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)), (0, (3, 1)), "--", "-."]
MARKERS = ["o", "s", "^", "D", "v", "P", "X"]
STEPS_PER_POINT = 10
EPOCHS = {1350: 15, 1500: 15, 1800: 20}  # of parts 3, 4 and 5, by the number of points of a curve
LN_10 = math.log(10)  # the cross-entropy of ten equal probabilities
HUGE = 20  # a loss from which the axis has to be logarithmic
STYLE = {"font.size": 10, "axes.grid": True, "grid.alpha": 0.3, "legend.frameon": False,
         "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 10.5,
         "savefig.dpi": 140, "figure.constrained_layout.use": True}  # fmt: skip


def part2Plots(out, nmax: int = 64, save_dir: str = "", filename: str = "") -> None:
    """Show the maps of a convolution: a row for each image, a column for each kernel.

    out: (N, O, H, W) array or tensor. The first `nmax` of its N * O maps are shown, on one scale.
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
        _save(figure, save_dir, filename or "part2Plots", gray=True)


def part3Plots(
    results: Sequence[dict], save_dir: str = "", filename: str = "", show_plot: bool = True
) -> None:
    """Compare architectures: loss, accuracies, test accuracy and gap against training accuracy.

    results: dictionaries with 'name', 'loss_curve', 'train_acc_curve', 'val_acc_curve' (sequences
    of floats) and 'test_acc' (float). Each family of names ("mlp_1", "mlp_2") has a panel of
    accuracies. The gap is training minus validation accuracy.
    """
    families = _families([result["name"] for result in results])
    short = [_short_name(result) for result in results]  # the legend has all
    unit = _accuracy_unit([v for r in results for v in (*r["train_acc_curve"], r["test_acc"])])
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(3, 2, figsize=(9, 9))
        loss_axes, *acc_axes, gap_axes, test_axes, key_axes = axes.ravel()
        for k, result in enumerate(results):
            train_acc, val_acc = result["train_acc_curve"], result["val_acc_curve"]
            _plot_curve(loss_axes, result["loss_curve"], k)
            panel = acc_axes[families[k]]
            _plot_curve(panel, train_acc, k, markerfacecolor="white", linewidth=1)
            _plot_curve(panel, val_acc, k)
            test_axes.plot(k, result["test_acc"], **_look(k, linestyle="none", markersize=8))
            smooth_train, smooth_val = _smooth(train_acc), _smooth(val_acc)
            every = max(1, len(train_acc) // 8)
            gap_axes.plot(smooth_train, smooth_train - smooth_val, markevery=every, **_look(k))
        loss_axes.set(title="training loss", ylabel="cross-entropy")
        _mark_ln_10(loss_axes)
        for family, panel in enumerate(acc_axes):
            names = [name for name, f in zip(short, families, strict=True) if f == family]
            panel.set(title=f"accuracy: {', '.join(names)}", ylabel=f"accuracy{unit}")
            panel.set_visible(bool(names))
        test_axes.set(title="best test accuracy", ylabel=f"test accuracy{unit}")
        test_axes.set_xticks(range(len(results)), short)
        test_axes.margins(0.15)
        gap_axes.set(title="training minus validation accuracy", xlabel=f"training accuracy{unit}",
                     ylabel="gap" + unit.replace("%", "percentage points"))  # fmt: skip
        for panel in (loss_axes, *acc_axes):
            _label_time(panel, [result["loss_curve"] for result in results])
        handles = _handles([result["name"] for result in results])
        handles += [
            Line2D([], [], color="gray", marker="o", markerfacecolor=face, linewidth=width,
                   label=text)
            for face, width, text in (("white", 1, "training"), ("gray", 2, "validation"))
        ]  # fmt: skip
        key_axes.axis("off")
        key_axes.legend(handles=handles, loc="center", handlelength=4)
        _finish(figure, save_dir, filename or "part3Plots", show_plot)


def part4Plots(
    results: Sequence[dict], save_dir: str = "", filename: str = "", show_plot: bool = True
) -> None:
    """Compare ReLU (left) with sigmoid (right): training losses and gradient magnitudes.

    results: dictionaries with 'name', 'relu_loss_curve', 'sigmoid_loss_curve', 'relu_grad_curve'
    and 'sigmoid_grad_curve' (sequences of floats). The magnitudes are on a logarithmic axis.
    An inset counts the points that are zero, which such an axis cannot show. Negative values are
    shown as magnitudes, and the axis label says so.
    """
    activations = {"relu": "ReLU", "sigmoid": "sigmoid"}
    grads = [value for r in results for a in activations for value in r[f"{a}_grad_curve"]]
    signed = any(value < 0 for value in grads)
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(10, 7), sharex=True)
        axes[1, 1].sharey(axes[1, 0])
        for (activation, name), loss_axes, grad_axes in zip(
            activations.items(), *axes, strict=True
        ):
            losses = [value for r in results for value in r[f"{activation}_loss_curve"]]
            huge = any(loss > HUGE for loss in losses if math.isfinite(loss))
            hidden = []
            for k, result in enumerate(results):
                magnitudes = np.abs(result[f"{activation}_grad_curve"])
                _plot_curve(loss_axes, result[f"{activation}_loss_curve"], k, log=huge)
                _plot_curve(grad_axes, np.where(magnitudes > 0, magnitudes, np.nan), k, log=True)
                if zeros := np.count_nonzero(magnitudes == 0):
                    share = (
                        "all" if zeros == len(magnitudes) else f"{zeros:,} of {len(magnitudes):,}"
                    )
                    hidden.append(f"{_short_name(result)}, {share} points")
            loss_axes.set_title(f"training loss, {name}")
            grad_axes.set_title(f"gradient magnitude of the first layer, {name}")
            if huge:
                loss_axes.set_yscale("log")
            _mark_ln_10(loss_axes)
            if hidden:
                text = "zero, so not on this axis:\n" + "\n".join(hidden)
                box = {"facecolor": "white", "edgecolor": "lightgray", "alpha": 0.9}
                grad_axes.text(0.98, 0.03, text, transform=grad_axes.transAxes, fontsize=9.5,
                               ha="right", va="bottom", bbox=box)  # fmt: skip
            _label_time(grad_axes, [result["relu_loss_curve"] for result in results])
        if axes[0, 0].get_yscale() == axes[0, 1].get_yscale():
            axes[0, 1].sharey(axes[0, 0])
            axes[0, 0].autoscale_view()
        axes[0, 0].set_ylabel("cross-entropy")
        axes[1, 0].set_ylabel("|dL/dW|" + " (of signed values)" * signed)
        axes[1, 0].set_yscale("log")
        _name_curves(figure, [result["name"] for result in results])
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
    suffixes = ("1", "01", "001")
    unit = _accuracy_unit([v for s in suffixes for v in result[f"val_acc_curve_{s}"]])
    with plt.rc_context(STYLE):
        figure, (loss_axes, acc_axes) = plt.subplots(1, 2, figsize=(10, 4.2))
        for k, suffix in enumerate(suffixes):
            _plot_curve(loss_axes, result[f"loss_curve_{suffix}"], k)
            _plot_curve(acc_axes, result[f"val_acc_curve_{suffix}"], k)
        loss_axes.set(title=f"training loss of {result['name']}", ylabel="cross-entropy")
        _mark_ln_10(loss_axes)
        acc_axes.set(title=f"validation accuracy of {result['name']}", ylabel=f"accuracy{unit}")
        for panel in (loss_axes, acc_axes):
            _label_time(panel, [result["loss_curve_1"]])
        _name_curves(figure, [f"learning rate 0.{suffix}" for suffix in suffixes])
        _finish(figure, save_dir, filename or "part5Plots", show_plot)


def visualizeWeights(weights, save_dir: str, filename: str = "weights") -> None:
    """Show the weights of a first layer as a grid of images on one gray scale.

    weights: (units, 1024), each row shown as 32x32, or (kernels, 1, h, w). Zero is medium gray. The
    scale ends where 2 % of the weights are beyond it, so that shapes can be seen.
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
        figure.colorbar(axes[0, 0].images[0], ax=axes, label="weight", shrink=0.9, extend="both")
        _save(figure, save_dir, filename or "weights", gray=True)


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
        _save(figure, save_dir, filename or "dataset", gray=True)


# ---- Curves


def _look(k: int, **changes) -> dict:
    """Return how the kth curve looks in every panel."""
    look = {
        "color": COLORS[k % len(COLORS)],
        "linestyle": LINE_STYLES[k % len(LINE_STYLES)],
        "marker": MARKERS[k % len(MARKERS)],
        "markersize": 5,
        "linewidth": 2,
    }
    return look | changes


def _short_name(result: dict) -> str:
    """Return the name of a result without its suffix, such as " (quick)"."""
    return str(result["name"]).partition(" (")[0]


def _families(names: Sequence) -> list[int]:
    """Return the panel of each name, 0 or 1, by the letters that it begins with."""
    letters = [re.match("[^_0-9]*", str(name)).group() for name in names]
    kinds = list(dict.fromkeys(letters))
    return [kinds.index(kind) if len(kinds) == 2 else 0 for kind in letters]


def _accuracy_unit(values: Sequence[float]) -> str:
    """Return " (%)", or nothing if the accuracies are from 0 to 1."""
    return "" if len(values) and np.nanmax(np.abs(values)) <= 1 else " (%)"


def _smooth(curve: Sequence[float]) -> np.ndarray:
    """Return the mean of the finite values around each point, over a thirtieth of the curve.

    The window narrows towards the start, where curves are steep, and is cut off at the end.
    """
    values = np.where(np.isfinite(curve), np.asarray(curve, np.float64), np.nan)
    half_widths = np.minimum(len(values) // 60, np.arange(len(values)))
    return np.array([
        np.nanmean(values[k - half : k + half + 1]) if np.isfinite(values[k]) else np.nan
        for k, half in enumerate(half_widths)
    ])  # fmt: skip


def _times(curve: Sequence[float]) -> np.ndarray:
    """Return the epochs, or the steps, at which the points of a curve stand."""
    return np.arange(1, len(curve) + 1) * (
        EPOCHS[len(curve)] / len(curve) if len(curve) in EPOCHS else STEPS_PER_POINT
    )


def _plot_curve(axes: Axes, curve: Sequence[float], k: int, log: bool = False, **changes) -> None:
    """Draw the raw curve pale and the smoothed one strong; with `log` by geometric means."""
    if not len(curve):
        return
    look = _look(k, **changes)
    raw = np.where(np.isfinite(curve), curve, np.nan)
    axes.plot(_times(curve), raw, ".", color=look["color"], alpha=0.25, markersize=2, mew=0,
              zorder=1)  # fmt: skip
    every = max(1, len(curve) // 8)
    smooth = np.exp(_smooth(np.log(np.where(raw > 0, raw, np.nan)))) if log else _smooth(curve)
    axes.plot(_times(curve), smooth, markevery=(k * every // 8, every), **look)


def _label_time(axes: Axes, curves: Sequence[Sequence[float]]) -> None:
    """Label the axis with epochs or steps; see `_times`."""
    epochs = all(len(curve) in EPOCHS for curve in curves)
    axes.set_xlabel("epoch" if epochs else "step")
    axes.locator_params(axis="x", nbins=6, integer=True)


def _mark_ln_10(axes: Axes) -> None:
    """Draw a line at ln 10, the loss of uniform guessing, if losses are near it."""
    low, high = axes.dataLim.y0, axes.dataLim.y1
    if low < LN_10 < 1.5 * high:
        axes.axhline(LN_10, color="black", linewidth=0.8, linestyle=(0, (4, 4)), zorder=0)
        axes.annotate("ln 10", (1, LN_10), xycoords=axes.get_yaxis_transform(), fontsize=8,
                      xytext=(2, 0), textcoords="offset points", va="center")  # fmt: skip


def _handles(names: Sequence) -> list[Line2D]:
    return [Line2D([], [], label=name, **_look(k)) for k, name in enumerate(names)]


def _name_curves(figure: Figure, names: Sequence) -> None:
    """Name the curves above the panels, where the legend hides no curve."""
    longest = max((len(str(name)) for name in names), default=0)
    columns = max(1, min(len(names), 130 // (longest + 10)))  # about 130 letters fit on a line
    figure.legend(handles=_handles(names), loc="outside upper center", ncols=columns,
                  handlelength=3.5, columnspacing=1.2)  # fmt: skip


# ---- Images and files


def _image_grid(rows: int, columns: int, images, limit: bool = False) -> tuple[Figure, np.ndarray]:
    """Draw gray images in a grid on one scale, which with `limit` is symmetric around zero."""
    finite = np.concatenate([np.ravel(image)[np.isfinite(np.ravel(image))] for image in images])
    low, high = (finite.min(), finite.max()) if len(finite) else (0, 1)
    if limit:
        high = (np.quantile(abs(finite), 0.98) if len(finite) else 0) or 1
        low = -high
    size = (columns + 1.3 * limit, max(rows, 1.4))  # with room for a colour bar
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


def _save(figure: Figure, save_dir: str, filename: str, gray: bool = False) -> None:
    """Write the picture atomically, in grayscale or in 64 colours, which is three times smaller."""
    folder = Path(save_dir or ".")
    temporary = folder / f".{filename}.png.{socket.gethostname()}.{os.getpid()}.tmp"
    try:
        if Path(filename).name != filename:
            raise ValueError(f"filename {filename!r} is not the name of a file in save_dir")
        folder.mkdir(parents=True, exist_ok=True)
        picture = io.BytesIO()
        figure.savefig(picture, format="png")
        with Image.open(picture) as image:
            small = image.convert("L" if gray else "RGB")
            if not gray:
                small = small.quantize(64, dither=Image.Dither.NONE)
            small.save(temporary, format="png", optimize=True, dpi=image.info.get("dpi"))
        os.replace(temporary, folder / f"{filename}.png")
    except OSError as error:
        error.filename = str(folder / f"{filename}.png")  # a full disk leaves this out
        raise
    finally:
        plt.close(figure)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
