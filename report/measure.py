"""Measure what the report discusses besides the recorded runs.

    python -m report.measure        # results/measurements.json and results/part3_units.png

- 3.2.6: how much adjacent weights of a first-layer unit resemble each other.
- 3.2.7: how well the response of each first-layer unit alone tells each class from the rest.
- 4.2.2: the gradient before training, with ReLU and with the sigmoid: that of the first layer, and
  by what factor it shrinks in each layer; and how much the outputs differ between images.
- 4.2.3: how many sigmoids of an MLP are saturated before training.

The trained first layers of part 3 are compared with the weights that they started from. It takes a
minute and needs the images and the records of part 3. `report.build` calls it when that is needed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn.functional import conv2d, cross_entropy

from data import CLASSES, Data, Examples, prepare, read
from experiments import ends, options, records
from experiments.plots import STYLE, save_figure
from experiments.records import Record
from experiments.storage import UserError, write_atomically
from models import ARCHITECTURES, build, first_layer
from report.parameters import PARAMETERS

VERSION = 4  # of what is measured
SEEDS = 100  # random initializations of each network
BATCH_SIZE = 50
THRESHOLD = 0.7  # the area under the ROC curve from which units are counted
SHOWN = ("mlp_1", "cnn_4")  # in the figure
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
FILE, FIGURE = "measurements.json", "part3_units.png"
Variants = Mapping[str, Sequence[Record]]  # the records of part 3, by architecture


# ---- 3.2.6 and 3.2.7: first-layer units


def initial_weights(record: Record) -> Tensor:
    """Draw the first layer's weights that a run started from, as `training.new_model` does."""
    torch.manual_seed(record.config["seed"])
    return first_layer(build(record.config["architecture"])).weight.detach()


def adjacent_correlation(weights: np.ndarray) -> float:
    """Return the correlation of adjacent weights of a unit, averaged over the units.

    weights: (units, 1024) of 32x32 pictures, or (units, 1, h, w).
    """
    size = 32 if weights.ndim == 2 else weights.shape[-1]
    pictures = weights.reshape(len(weights), -1, size).astype(np.float64)
    correlations = []
    for picture in pictures:
        one = np.concatenate([picture[:, :-1].ravel(), picture[:-1].ravel()])
        other = np.concatenate([picture[:, 1:].ravel(), picture[1:].ravel()])
        correlations.append(np.corrcoef(one, other)[0, 1])
    return float(np.mean(correlations))


def responses(weights: Tensor, images: Tensor) -> dict[str, np.ndarray]:
    """Return the responses of units to images, in two ways: (N, units) each.

    "largest": the largest response of a kernel, wherever it is. "magnitude": the mean of its
    absolute values. A unit of an MLP has one response to an image. Biases and the activation are
    left out; they do not change the order of the largest responses.
    """
    found = []
    for part in images.split(25):
        maps = conv2d(part, weights) if weights.ndim == 4 else part.flatten(1) @ weights.T
        maps = maps.reshape(*maps.shape[:2], -1)
        found.append((maps.amax(2), maps.abs().mean(2)))
    columns = map(torch.cat, zip(*found, strict=True))
    return dict(zip(("largest", "magnitude"), (c.numpy() for c in columns), strict=True))


def roc_areas(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each unit for each class: (units, classes).

    scores: (N, units); labels: (N,). The area is the probability that a random image of the class
    has a higher score than a random other image; ties count half (Hanley and McNeil, 1982).
    """
    ranks, areas = rankdata(scores, axis=0), []
    for label in range(len(CLASSES)):
        members = labels == label
        inside = np.count_nonzero(members)
        wins = ranks[members].sum(axis=0) - inside * (inside + 1) / 2
        areas.append(wins / (inside * (len(labels) - inside)))
    return np.stack(areas, axis=1)


def contrasts(test: Examples) -> dict[str, np.ndarray]:
    """Return the areas (classes,) of two properties of an image, which no network is needed for.

    "contrast": the standard deviation of its pixels. "local_contrast": the mean absolute
    difference of adjacent pixels.
    """
    across, down = test.images.diff(dim=3).abs(), test.images.diff(dim=2).abs()
    values = {
        "contrast": test.images.std((1, 2, 3)),
        "local_contrast": across.mean((1, 2, 3)) + down.mean((1, 2, 3)),
    }
    labels = test.labels.numpy()
    return {name: roc_areas(v.numpy()[:, None], labels)[0] for name, v in values.items()}


def describe_units(areas: np.ndarray, images: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Summarise areas (units, classes), and correlate their mean by class with those of `images`.

    A unit can tell a class from the rest by a high or by a low response.
    """
    by_class, profile = np.maximum(areas, 1 - areas), areas.mean(axis=0)
    return {
        "share": float(np.mean((by_class >= THRESHOLD).any(axis=1))),
        "highest": float(by_class.max()),
        "best_classes": np.bincount(areas.argmax(axis=1), minlength=len(CLASSES)).tolist(),
        "profile": profile.tolist(),
        **{name: float(np.corrcoef(profile, of)[0, 1]) for name, of in images.items()},
    }


def measure_units(part3: Variants, test: Examples, path: Path) -> dict[str, Any]:
    """Describe the first layers before and after training, by architecture, and draw some."""
    images, found, shown = contrasts(test), {}, {}
    for name, of_runs in part3.items():
        states = {
            "untrained": [initial_weights(record) for record in of_runs],
            "trained": [torch.from_numpy(record["weights"]) for record in of_runs],
        }
        best = int(np.argmax([record.test_acc for record in of_runs]))
        for state, weights in states.items():
            areas = {
                way: roc_areas(scores, test.labels.numpy())
                for way, scores in responses(torch.cat(weights), test.images).items()
            }
            found.setdefault(name, {})[state] = {
                "adjacent": adjacent_correlation(torch.cat(weights).numpy()),
                **{way: describe_units(table, images) for way, table in areas.items()},
            }
            units = len(weights[0])
            shown[f"{name}, {state}"] = areas["largest"][best * units : (best + 1) * units]
    plot_units({title: t for title, t in shown.items() if title.startswith(SHOWN)}, path)
    return {"units": found, "images": {name: of.tolist() for name, of in images.items()}}


def plot_units(areas: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw areas (units, classes) by title: a row for each unit, a column for each class."""
    with plt.rc_context(STYLE | {"axes.grid": False}):
        figure, panels = plt.subplots(1, len(areas), figsize=(7, 4), squeeze=False)
        for panel, (title, table) in zip(panels[0], areas.items(), strict=True):
            ordered = table[np.lexsort((-table.max(axis=1), table.argmax(axis=1)))]
            image = panel.imshow(ordered, cmap="cividis", vmin=0.25, vmax=0.75, aspect="auto")
            panel.set_title(title)
            panel.set_xticks(range(len(CLASSES)), CLASSES, rotation=90)
            panel.tick_params(length=0)
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
            far = abs(ordered - 0.5) >= THRESHOLD - 0.5
            for unit, label in zip(*np.nonzero(far), strict=True):
                color = "white" if ordered[unit, label] < 0.5 else "black"
                panel.plot(label, unit, ".", color=color, markersize=5)
        panels[0, 0].set_ylabel("units")
        figure.colorbar(image, ax=panels, label="area under the ROC curve", shrink=0.8)
        save_figure(figure, path)


# ---- 4.2.2: networks before training


def at_start(name: str, kind: type[nn.Module], batch: Examples) -> dict[str, Any]:
    """Look at a network before training, over SEEDS initializations; all are geometric means.

    Returns the norm of the first layer's gradient, the factors by which the norm of the gradient
    with respect to an activation's input changes from each activation to the one before it, and
    the deviations of the outputs of the first and of the last activation between the images of the
    batch (as root mean square over the units).
    """
    logs = []
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = ARCHITECTURES[name](kind)  # not in place, because the inputs are needed
        outputs, inputs, deviations = batch.images, [], []
        for layer in model:
            if isinstance(layer, kind):
                outputs.retain_grad()
                inputs.append(outputs)
            outputs = layer(outputs)
            if isinstance(layer, kind):
                deviations.append(outputs.detach().std(0).square().mean().sqrt().item())
        cross_entropy(outputs, batch.labels).backward()
        norms = [array.grad.norm().item() for array in (first_layer(model).weight, *inputs)]
        logs.append(np.log([*norms, deviations[0], deviations[-1]]))
    gradient, *norms, first, last = np.exp(np.mean(logs, axis=0)).tolist()
    factors = [before / behind for before, behind in pairwise(norms)]
    return {"gradient": gradient, "factors": factors, "deviations": [first, last]}


def saturated(images: Tensor) -> float:
    """Return the share of mlp_1's activations whose input is beyond ±5 before training."""
    torch.manual_seed(0)
    inputs = build("mlp_1")[:2](images)
    return float((inputs.abs() > 5).float().mean())


# ---- All of it


def made_of(part3: Variants) -> dict[str, Any]:
    """Return what the measurements depend on."""
    runs = [record for of_runs in part3.values() for record in of_runs]
    weights = b"".join(record["weights"].tobytes() for record in runs)
    return {
        "version": VERSION,
        "data_sha256": runs[0].config["data_sha256"],
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }


def measure(part3: Variants, data_dir: str | Path, out: Path) -> dict[str, Any]:
    """Make all measurements and write them and their figure to `out`.

    Raises UserError if the images are not those that the runs were trained on.
    """
    torch.set_num_threads(1)  # the batches are too small for more
    config = next(iter(part3.values()))[0].config
    data: Data = prepare(
        read(config["dataset"], data_dir, config["quick"]), torch.device("cpu"), None
    )
    if data.sha256 != config["data_sha256"]:
        raise UserError(f"{out}: its runs were trained on other images than those in {data_dir}")
    batch = Examples(data.train.images[:BATCH_SIZE], data.train.labels[:BATCH_SIZE])
    found = {
        "made_of": made_of(part3),
        "seeds": SEEDS,
        "threshold": THRESHOLD,
        "start": {
            name: {a: at_start(name, kind, batch) for a, kind in ACTIVATIONS.items()}
            for name in PARAMETERS
        },
        "saturated": {
            "scaled": saturated(data.test.images),
            "unscaled": saturated((data.test.images + 1) * 127.5),
        },
        **measure_units(part3, data.test, out / FIGURE),
    }
    write_atomically(out / FILE, (json.dumps(found, indent=1) + "\n").encode())
    return found


def measurements(part3: Variants, data_dir: str | Path, out: Path) -> dict[str, Any]:
    """Return the measurements in `out`. They are made if they are missing or of other records."""
    try:
        found = json.loads((out / FILE).read_text(encoding="utf-8"))
        if found["made_of"] == made_of(part3) and (out / FIGURE).exists():
            return found
    except (OSError, ValueError, LookupError, TypeError):
        pass  # missing or damaged
    print(f"measuring the networks of {out}, about a minute", flush=True)
    return measure(part3, data_dir, out)


def main() -> None:
    parser = options.Parser(__doc__)
    parser.add_argument("--out", type=options.path, default="results", help="default: %(default)s")
    options.add_data_dir(parser)
    given = parser.parse_args()
    options.check_writable(parser, given.out)
    part3 = records.read(given.out, "part3")
    if not part3:
        raise UserError(f"{given.out}: no records of part 3; run part3_architectures.py first")
    measure(part3, given.data_dir, given.out)
    print(f"measurements and figure: {given.out / FILE}, {given.out / FIGURE}")


if __name__ == "__main__":
    ends.run(main)
