"""Measure what the discussions of the report rest on, beside the recorded runs.

    python -m report.measure                  # results/measurements.json and two figures

- 4.2.2: the first layer's gradient at initialization, for 100 seeds of every network with ReLU and
  with the sigmoid, on one batch, and how much the layers' outputs differ between its images.
- 4.2.1: the gradient of single batches and of all training images while mlp_1 is trained.
- 4.2.3: the first steps of cnn_3 on unscaled inputs, and how large pixels are.
- 3.2.7: how well the response of each first-layer unit alone tells each class from the rest.
- 3.2.6: the correlation of adjacent weights of the CNNs' kernels, against shuffled kernels.

It takes two minutes and needs the images and the records of part 3.
"""

import json
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from experiments import cli
from experiments.plots import STYLE, look, save_figure
from experiments.records import Record, read_variants
from experiments.storage import UserError, write_atomically
from experiments.training import new_model, new_optimizer, train

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy

import part4_activations as part4
from data import CLASSES, BatchLoader, Data, Examples, load
from models import ARCHITECTURES, build, first_layer

SEEDS = 100
PERMUTATIONS = 200
SPECIALIZED = 0.7  # the area under the ROC curve from which we call a unit specialized
LAYERS = {"mlp_1": 1, "mlp_2": 1, "cnn_3": 2, "cnn_4": 4, "cnn_5": 6}  # of activations


def estimated_ratio(name: str) -> float:
    """Estimate the ratio of the gradients, sigmoid to ReLU.

    Each layer of activations has a factor of 1/4 with the sigmoid and of sqrt(1/2) with ReLU.
    """
    return (1 / 4 / math.sqrt(1 / 2)) ** LAYERS[name]


# ---- 4.2.2: gradients at initialization


def start_gradient(name: str, activation: str, seed: int, batch: Examples) -> float:
    """Return the norm of the first layer's gradient before any training."""
    torch.manual_seed(seed)
    model = build(name, getattr(nn, part4.ACTIVATIONS[activation]))
    cross_entropy(model(batch.images), batch.labels).backward()
    gradient = first_layer(model).weight.grad
    assert gradient is not None
    return gradient.norm().item()


def start_gradients(batch: Examples) -> dict[str, dict[str, list[float]]]:
    """Return the norms of `start_gradient` by architecture and activation, for all seeds."""
    return {
        name: {
            a: [start_gradient(name, a, seed, batch) for seed in range(SEEDS)]
            for a in part4.ACTIVATIONS
        }
        for name in ARCHITECTURES
    }


@torch.no_grad()
def image_deviations(name: str, activation: str, batch: Examples) -> list[float]:
    """Return by how much the outputs of each layer of activations differ between images.

    That is the deviation over the images, as root mean square over the units and geometric mean
    over the seeds.
    """
    kind, logs = getattr(nn, part4.ACTIVATIONS[activation]), []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model, outputs, deviations = build(name, kind), batch.images, []
        for layer in model:
            outputs = layer(outputs)
            if isinstance(layer, kind):
                deviations.append(outputs.std(0).square().mean().sqrt().item())
        logs.append(np.log(deviations))
    return np.exp(np.mean(logs, axis=0)).tolist()


def ratios(gradients: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the geometric mean of the ratios sigmoid to ReLU, and their geometric deviation."""
    logs = np.log(np.array(gradients["sigmoid"]) / np.array(gradients["relu"]))
    return {"mean": float(np.exp(logs.mean())), "deviation": float(np.exp(logs.std(ddof=1)))}


def plot_start(gradients: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Draw the gradient with the sigmoid against that with ReLU, and the estimates."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(6.2, 5))
        for k, (name, rows) in enumerate(gradients.items()):
            style = look(k) | {"linestyle": "none", "alpha": 0.55, "markeredgewidth": 0}
            axes.plot(rows["relu"], rows["sigmoid"], markersize=5, **style)
            ends = np.array([min(rows["relu"]) / 1.6, max(rows["relu"]) * 1.6])
            axes.plot(ends, estimated_ratio(name) * ends, linewidth=1.5, color=look(k)["color"],
                      linestyle=look(k)["linestyle"])  # fmt: skip
            layers = f"{LAYERS[name]} activation{'s' * (LAYERS[name] > 1)}"
            axes.plot([], [], label=f"{name}, {layers}", **look(k))
        axes.set(xscale="log", yscale="log", xlabel="|dL/dW| with ReLU",
                 ylabel="|dL/dW| with the sigmoid",
                 title=f"first layer before training, {SEEDS} seeds; lines: estimate")  # fmt: skip
        axes.legend(loc="lower right", fontsize=9)
        save_figure(figure, path)


# ---- 4.2.3: the first steps on unscaled inputs


def dead_after(data: Data) -> dict[str, float | None]:
    """Repeat the first steps of cnn_3 with ReLU on pixels from 0 to 255, run 0 of part 4.

    Returns the first step after which the second ReLU is zero for all of 500 images, and how large
    the largest weight of the prediction layer is then.
    """
    config = part4.configure("cnn_3", "relu", part4_options(1))
    model = new_model(config, torch.device("cpu"))
    optimizer = new_optimizer(config, model, part4.LEARNING_RATE)
    unscaled = Examples(unscale(data.train.images), data.train.labels)
    train_generator = BatchLoader(unscaled, config.batch_size, seed=config.seed)
    for point in train(model, optimizer, train_generator, range(1), 1):
        with torch.no_grad():
            second_relu = model[:4](unscaled.images[:500])
        if second_relu.max() == 0:
            return {"step": point.step, "weight": model[-1].weight.abs().max().item()}
        if point.step == 50:
            break
    return {"step": None, "weight": None}


def unscale(images: Tensor) -> Tensor:
    """Return scaled images with their pixels as stored, from 0 to 255."""
    return ((images + 1) * 127.5).round()


def root_mean_square(images: Tensor) -> float:
    """Return the root of the mean square of all pixels."""
    return images.square().mean(dtype=torch.float64).sqrt().item()


def part4_options(epochs: int) -> Namespace:
    """Return the options of part 4 that `part4.configure` reads."""
    return Namespace(
        epochs=epochs, batch_size=part4.BATCH_SIZE, seed=0, dataset="", unscaled=False,
        initialized=False,
    )  # fmt: skip


# ---- 4.2.1: gradients of batches and of all images


def mean_gradients(model: nn.Module, examples: Examples) -> tuple[float, float]:
    """Return two norms of the first layer's gradient, the weights being as they are.

    The first is that of the loss of all `examples`. The second is the mean over their batches of
    the norm of a batch's gradient.
    """
    weight, norms = first_layer(model).weight, []
    total = torch.zeros_like(weight)
    for images, labels in BatchLoader(examples, part4.BATCH_SIZE, shuffle=False):
        (gradient,) = torch.autograd.grad(cross_entropy(model(images), labels), weight)
        total += gradient * len(labels)
        norms.append(gradient.norm().item())
    return total.norm().item() / len(examples.labels), float(np.mean(norms))


def gradients_in_training(activation: str, data: Data, epochs: int) -> dict[str, list[float]]:
    """Train mlp_1 as in run 0 of part 4.

    Returns the norms of `mean_gradients` before training and after each epoch.
    """
    config = part4.configure("mlp_1", activation, part4_options(epochs))
    model = new_model(config, torch.device("cpu"))
    optimizer = new_optimizer(config, model, part4.LEARNING_RATE)
    train_generator = BatchLoader(data.train, config.batch_size, seed=config.seed)
    found = [mean_gradients(model, data.train)]
    for epoch in range(epochs):
        for _ in train(model, optimizer, train_generator, range(epoch, epoch + 1), 10):
            pass
        found.append(mean_gradients(model, data.train))
    return dict(zip(("all_images", "batch"), map(list, zip(*found, strict=True)), strict=True))


# ---- 3.2.7: units and classes


def responses(weights: Tensor, images: Tensor, magnitude: bool = False) -> Tensor:
    """Return the response of each unit to each image: (N, units).

    A unit of an MLP sees the whole image. Of a kernel's responses the largest one counts, wherever
    it is, or with `magnitude` the mean of their absolute values. Biases and the activation do not
    change the order of the largest responses, so they are left out.
    """
    if weights.ndim == 2:
        return images.flatten(1) @ weights.T
    maps = (conv2d(part, weights) for part in images.split(250))
    return torch.cat([m.abs().mean((2, 3)) if magnitude else m.amax((2, 3)) for m in maps])


def local_contrast(images: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbouring pixels of each image: (N, 1)."""
    across, down = images.diff(dim=3).abs(), images.diff(dim=2).abs()
    return (across.mean((2, 3)) + down.mean((2, 3))) / 2


def roc_areas(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each unit for each class: (units, classes).

    scores: (N, units); labels: (N,). The area is the probability that a random image of the class
    has a higher response than a random other image (Hanley and McNeil, 1982).
    """
    ranks = scores.argsort(axis=0).argsort(axis=0) + 1.0
    areas = []
    for label in range(len(CLASSES)):
        members = labels == label
        inside = np.count_nonzero(members)
        wins = ranks[members].sum(axis=0) - inside * (inside + 1) / 2
        areas.append(wins / (inside * (len(labels) - inside)))
    return np.stack(areas, axis=1)


def unit_areas(
    records: Sequence[Record], test: Examples, magnitude: bool = False
) -> list[np.ndarray]:
    """Return the areas (units, classes) of the first layer of each record. See `responses`."""
    weights = (torch.from_numpy(record["weights"]) for record in records)
    scores = (responses(w, test.images, magnitude).numpy() for w in weights)
    return [roc_areas(of_run, test.labels.numpy()) for of_run in scores]


def either_way(areas: np.ndarray) -> np.ndarray:
    """Return how well a unit tells a class from the rest, by a high or by a low response."""
    return np.maximum(areas, 1 - areas)


def mean_correlation(rows: np.ndarray) -> float:
    """Return the mean correlation of two rows of an array (n, values), NaN if there is one row."""
    if len(rows) < 2:
        return math.nan
    return float(np.corrcoef(rows)[np.triu_indices(len(rows), 1)].mean())


def describe_units(tables: Sequence[np.ndarray]) -> dict:
    """Summarise the areas (units, classes) of several runs.

    "alike" is the mean correlation of the areas of two units of a run.
    """
    areas = np.concatenate(tables)
    best = either_way(areas).max(1)
    alike = [mean_correlation(table) for table in tables]
    return {
        "share_either_way": float(np.mean(best >= SPECIALIZED)),
        "highest": float(best.max()),
        "best_classes": np.bincount(areas.argmax(1), minlength=len(CLASSES)).tolist(),
        "alike": float(np.mean(alike)),
    }


def plot_units(areas: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw the areas of the best runs: a row for each unit, a column for each class."""
    rows = [len(table) for table in areas.values()]
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, axes = plt.subplots(1, len(areas), figsize=(10, 6), squeeze=False)
        for panel, (name, table) in zip(axes[0], areas.items(), strict=True):
            ordered = table[np.lexsort((-table.max(axis=1), table.argmax(axis=1)))]
            shown = np.full((max(rows), table.shape[1]), np.nan)
            shown[: len(table)] = ordered
            image = panel.imshow(shown, cmap="cividis", vmin=0.2, vmax=0.8, aspect="auto")
            panel.xaxis.tick_top()
            panel.set_xticks(range(len(CLASSES)), CLASSES, rotation=90, fontsize=10)
            panel.tick_params(length=0)
            panel.set_yticks([])
            panel.set_xlabel(name)
            panel.spines[:].set_visible(False)
            for unit, label in zip(*np.nonzero(either_way(ordered) >= SPECIALIZED), strict=True):
                color = "white" if ordered[unit, label] < 0.5 else "black"
                panel.plot(label, unit, ".", color=color, markersize=5)
        axes[0, 0].set_ylabel("units of the first layer, by their best class")
        figure.colorbar(image, ax=axes, label="area under the ROC curve", shrink=0.7)
        save_figure(figure, path, colors=256)


# ---- 3.2.6: adjacent weights


def adjacent_correlations(kernels: np.ndarray) -> dict[str, float]:
    """Return the correlation of adjacent weights of kernels (n, h, w), counted in two ways.

    "pooled": over the pairs of all kernels together. "mean": the mean of each kernel's own.
    """
    k = kernels
    one, other = (  # a pair in each column, a row for each kernel
        np.concatenate([across.reshape(len(k), -1), down.reshape(len(k), -1)], axis=1)
        for across, down in ((k[:, :, :-1], k[:, :-1]), (k[:, :, 1:], k[:, 1:]))
    )
    pooled = np.corrcoef(one.ravel(), other.ravel())[0, 1]
    mean = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(one, other, strict=True)])
    return {"pooled": float(pooled), "mean": float(mean)}


def kernel_structure(records: Sequence[Record]) -> dict:
    """Return the correlations of all runs' kernels and of kernels with shuffled weights."""
    generator = np.random.default_rng(0)
    kernels = np.concatenate([record["weights"][:, 0] for record in records]).astype(np.float64)
    centred = kernels - kernels.mean((1, 2), keepdims=True)
    found = adjacent_correlations(centred)
    shuffled = []
    for _ in range(PERMUTATIONS):
        flat = generator.permuted(centred.reshape(len(centred), -1), axis=1)
        shuffled.append(adjacent_correlations(flat.reshape(centred.shape)))
    return {
        way: {
            "measured": found[way],
            "null_mean": float(np.mean([s[way] for s in shuffled])),
            "null_deviation": float(np.std([s[way] for s in shuffled], ddof=1)),
        }
        for way in found
    }


def measure(data: Data, part3: Mapping[str, Sequence[Record]], out: Path) -> dict:
    """Make all measurements and their figures."""
    batch = Examples(data.train.images[: part4.BATCH_SIZE], data.train.labels[: part4.BATCH_SIZE])
    gradients = start_gradients(batch)
    plot_start(gradients, out / "part4_start.png")
    areas = {name: unit_areas(records, data.test) for name, records in part3.items()}
    best = {name: int(np.argmax([r.test_acc for r in records])) for name, records in part3.items()}
    best_runs = {name: areas[name][best[name]] for name in ARCHITECTURES if name in areas}
    plot_units(best_runs, out / "part3_units.png")
    cnns = {name: records for name, records in part3.items() if name.startswith("cnn")}
    contrast = local_contrast(data.test.images).numpy()
    return {
        "data_sha256": data.sha256,
        "start": {"seeds": SEEDS, "gradients": gradients,
                  "ratio": {name: ratios(rows) for name, rows in gradients.items()}},
        "signal": {a: image_deviations("cnn_5", a, batch) for a in part4.ACTIVATIONS},
        "training": {
            a: gradients_in_training(a, data, part4.EPOCHS) for a in part4.ACTIVATIONS
        },
        "unscaled": dead_after(data),
        "pixels": {
            "scaled": root_mean_square(data.train.images),
            "unscaled": root_mean_square(unscale(data.train.images)),
        },
        "units": {name: describe_units(tables) for name, tables in areas.items()},
        "units_by_magnitude": {
            name: describe_units(unit_areas(records, data.test, magnitude=True))
            for name, records in cnns.items()
        },
        "contrast": roc_areas(contrast, data.test.labels.numpy())[0].tolist(),
        "kernels": {name: kernel_structure(records) for name, records in cnns.items()},
    }  # fmt: skip


def main() -> None:
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--out", type=cli.path, default=Path("results"), help="default: %(default)s")
    cli.add_data_options(parser)
    options: Namespace = parser.parse_args()
    part3 = read_variants(options.out, "part3")
    if not part3:
        raise UserError(f"{options.out}: no records of part 3; run part3_architectures.py first")
    config = next(iter(part3.values()))[0].config
    torch.set_num_threads(cli.num_cores())
    for quick in (False, True):
        data = load(
            config["dataset"], options.data_dir, torch.device("cpu"), quick, None, part4.PIXEL_RANGE
        )  # fmt: skip
        if data.sha256 == config["data_sha256"]:
            break
    else:
        raise UserError(f"{options.out}: its records were trained on other data")
    found = measure(data, part3, options.out)
    write_atomically(options.out / "measurements.json", (json.dumps(found) + "\n").encode())
    cli.print_figures(options.out, "part4_start.png", "part3_units.png")


if __name__ == "__main__":
    cli.run(main)
