"""Results of a full protocol on CIFAR-10 that nobody measured, to build reports from."""

import json
import shutil

from experiments.aggregate import plateau_epoch
from experiments.config import replicate
from experiments.records import find

import numpy as np
from conftest import ROOT
from helpers_records import options, write_arrays
from PIL import Image
from pypdf import PdfReader

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from models import build, first_layer
from report import summary
from report.build import FIGURES
from report.measure import estimated_ratio

# What accuracies and gaps tend to, and gradients with ReLU
ACCURACY = {"mlp_1": 40.0, "mlp_2": 40.1, "cnn_3": 61.0, "cnn_4": 63.0, "cnn_5": 60.9}
GAP = {"mlp_1": 9.0, "mlp_2": 9.2, "cnn_3": 3.8, "cnn_4": 4.0, "cnn_5": 2.0}
GRADIENT = {"mlp_1": 0.5, "mlp_2": 0.3, "cnn_3": 2e-2, "cnn_4": 7e-3, "cnn_5": 3e-4}
RATES = {0.1: 62.0, 0.01: 55.0, 0.001: 20.0}
SCHEDULED, ADAM = 64.0, 63.0


def write_runs(config, runs, out, last, gradient=None, loss=(2.3, 1.2)):
    """Write records, made up: curves of four points an epoch, which come near to `last`."""
    for run in replicate(config, runs):
        points = 4 * run.epochs
        noise = np.random.default_rng(run.seed).normal(size=points) * 10 * run.learning_rates[0]
        rise = last * (1 - np.exp(-np.arange(1, points + 1) / 6))
        rise += noise * (not run.drop_epochs)
        arrays = {
            "loss_curve": np.linspace(*loss, points),
            "train_acc_curve": rise + GAP[run.architecture] + 0.5 * (run.index % 2),
            "test_acc": last + 0.1 * run.index,
            "weights": np.sort(first_layer(build(run.architecture)).weight.detach().numpy()),
        }
        if gradient is None:
            arrays["val_acc_curve"] = rise
        else:
            arrays["grad_curve"] = np.linspace(*gradient, points)
        write_arrays(run, out, arrays)


def make_up(out):
    """Write records, figures, the maps of part 2 and summary.json to the folder `out`."""
    full = options(arch="cnn_4", dataset="cifar10", quick=False, batch_size=50)
    full.epochs = part3.EPOCHS
    for name, accuracy in ACCURACY.items():
        write_runs(part3.configure(name, full), part3.RUNS, out, accuracy)
    full.epochs = part4.EPOCHS
    for full.unscaled, runs in ((False, part4.RUNS), (True, part4.RUNS)):
        for name, gradient in GRADIENT.items():
            for activation, factor in (("relu", 1), ("sigmoid", estimated_ratio(name))):
                stuck = activation == "sigmoid" and name in ("cnn_4", "cnn_5")
                last = 2.3 if stuck else 1.9 if activation == "sigmoid" else 1.2
                losses = (2.4 if name == "cnn_5" else 2.3, last)
                losses = (np.nan, np.nan) if full.unscaled and factor == 1 else losses
                gradients = (gradient, 0.5) if factor == 1 else (gradient * factor,) * 2
                config = part4.configure(name, activation, full)
                write_runs(config, runs, out, 40.0, gradients, losses)
    full.epochs = part5.EPOCHS
    for rate, accuracy in RATES.items():
        write_runs(part5.constant(full, rate), part5.RUNS, out, accuracy)
    longer = full.schedule_epochs = part5.SCHEDULE_EPOCHS
    rate = [part5.ADAM_LEARNING_RATE]
    adam = part5.configure(full, "adam", rate, longer, optimizer="Adam")
    write_runs(adam, part5.RUNS, out, ADAM)
    config, drops = part5.constant(full, 0.1), ()
    for count in (2, 3):
        curve = find(config, out)["val_acc_curve"]
        drops += (plateau_epoch(curve, config.epochs, *drops),)
        kind = "_".join(["drop", *map(str, drops)])
        config = part5.configure(full, kind, list(RATES)[:count], longer, drops)
        write_runs(config, part5.RUNS, out, SCHEDULED)

    maps = np.ones((5, 8, 25, 25))
    maps[:, 3] = -1
    maps[:, 5] = 0.01
    np.save(out / "part2_out.npy", maps)
    for figure in FIGURES:
        Image.new("L", (40, 20), 128).save(out / f"{figure.format(full.arch)}.png")
    for name in ("part2.json", "measurements.json"):  # as they were measured
        shutil.copy(ROOT / "results" / name, out)
    (out / "summary.json").write_text(json.dumps(summary.summarise(out)))


def text_of(path):
    """The text of a PDF, every run of white space as one blank, and the text without any."""
    text = " ".join(page.extract_text() for page in PdfReader(path).pages)
    return " ".join(text.split()), "".join(text.split())
