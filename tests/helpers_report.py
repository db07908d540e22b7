"""Results of a full protocol on CIFAR-10 that nobody measured, to build reports from."""

import json
from argparse import Namespace

import numpy as np
from conftest import run_script
from helpers_records import write_arrays
from PIL import Image
from pypdf import PdfReader

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
import summary
from models import build, first_layer
from records import read_record
from report.build import FIGURES
from report.facts_sgd import estimated_ratio

# A world in which all claims hold: what accuracies tend to, and gradients with ReLU
ACCURACY = {"mlp_1": 40.0, "mlp_2": 40.1, "cnn_3": 57.0, "cnn_4": 63.0, "cnn_5": 61.0}
GRADIENT = {"mlp_1": 0.5, "mlp_2": 0.3, "cnn_3": 2e-2, "cnn_4": 7e-3, "cnn_5": 3e-4}
ROLES = {(0.1,): 62.0, (0.01,): 55.0, (0.001,): 20.0}


def write_record(run, out, last, gradient=None, loss=(2.3, 1.2)):
    """A record of `run`, made up: curves of four points an epoch, which come near to `last`."""
    points = 4 * run.epochs
    noise = np.random.default_rng(run.seed).normal(size=points) * 10 * run.learning_rates[0]
    rise = last * (1 - np.exp(-np.arange(1, points + 1) / 6)) + noise * (len(run.drop_epochs) == 0)
    arrays = {
        "loss_curve": np.linspace(*loss, points),
        "train_acc_curve": rise + 3,
        "test_acc": np.array(last + 0.1 * run.index),
        "weights": np.sort(first_layer(build(run.architecture)).weight.detach().numpy()),
    }
    if gradient is None:
        arrays["val_acc_curve"] = rise
    else:
        arrays["grad_curve"] = np.linspace(*gradient, points)
    write_arrays(run, out, arrays)


def make_up(out):
    """Write records, figures, the maps of part 2 and summary.json to the folder `out`."""
    options = Namespace(
        runs=10, epochs=15, batch_size=50, seed=0, dataset="cifar10", unscaled=False, arch="cnn_4"
    )
    for name, accuracy in ACCURACY.items():
        for run in part3.plan(name, options):
            write_record(run, out, accuracy)
    options.runs = 1
    for unscaled in (False, True):
        options.unscaled = unscaled
        for name, gradient in GRADIENT.items():
            for activation, factor in (("relu", 1), ("sigmoid", estimated_ratio(name))):
                (run,) = part4.plan(name, activation, options)
                stuck = activation == "sigmoid" and name in ("cnn_4", "cnn_5")
                last = 2.3 if stuck else 1.9 if activation == "sigmoid" else 1.2
                losses = (2.4 if name == "cnn_5" else 2.3, last)
                losses = (float("nan"), float("nan")) if unscaled and factor == 1 else losses
                gradients = (gradient, 0.5) if factor == 1 else (gradient * factor,) * 2
                write_record(run, out, 40.0, gradients, losses)
    options.epochs = 20
    for rates, accuracy in ROLES.items():
        write_record(part5.plan(options, rates)[0], out, accuracy)
    drops, (run,) = (), part5.plan(options, (0.1,))
    for rates in ((0.1, 0.01), (0.1, 0.01, 0.001)):
        curve = read_record(run.path(out))["val_acc_curve"]
        drops += (part5.stops_increasing(curve, run.epochs, *drops),)
        (run,) = part5.plan(options, rates, drops)
        write_record(run, out, 64.0)

    maps = np.ones((5, 8, 25, 25))
    maps[:, 3] = -1
    np.save(out / "part2_out.npy", maps)
    for figure in FIGURES:
        Image.new("L", (40, 20), 128).save(out / f"{figure.format(options.arch)}.png")
    files = {"samples": "samples_4.npy", "kernel": "kernel.npy"}
    (out / "part2.json").write_text(json.dumps(files))
    (out / "summary.json").write_text(json.dumps(summary.summarise(out)))


def build_report(results, out, *options, status=0):
    return run_script(
        "report/build.py", "--results", results, "--out", out, *options, status=status
    )


def text_of(path):
    """The text of a PDF, every run of white space as one blank, and the text without any."""
    text = " ".join(page.extract_text() for page in PdfReader(path).pages)
    return " ".join(text.split()), "".join(text.split())
