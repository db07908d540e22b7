"""What is trained on which images and how: the protocol of parts 3 to 5."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from data import Data, load
from files import load_dictionary
from models import ARCHITECTURES, build, first_layer
from runs import train_and_validate
from training import Examples

RESULTS = ROOT / "results"


def options(**changes):
    defaults = {"runs": 10, "epochs": 15, "batch_size": 50, "seed": 0, "dataset": "cifar10",
                "unscaled": False, "arch": "cnn_4"}  # fmt: skip
    return Namespace(**defaults | changes)


def black_and_white(percent):
    """200 images, black of class 0 and white of class 1; the rest of `percent` is labelled 2."""
    classes = torch.arange(200) % 2
    images = (2.0 * classes - 1).reshape(200, 1, 1, 1).repeat(1, 1, 32, 32)
    return Examples(images, torch.where(torch.arange(200) < 2 * percent, classes, 2))


THREE_SETS = Data(*map(black_and_white, (100, 60, 20)), "")


def test_validation_and_test_accuracy_are_of_their_own_images():
    """A network that tells black from white is right about as many images as are labelled so."""
    (run,) = part3.plan("mlp_1", options(runs=1, epochs=5, batch_size=20))
    recorded = train_and_validate(run, THREE_SETS, lambda step: None)
    assert recorded["train_acc_curve"][-1].item() == pytest.approx(100)
    assert recorded["val_acc_curve"][-1].item() == pytest.approx(60)
    assert recorded["test_acc"].item() == pytest.approx(20)


def test_test_accuracy_of_part4_is_of_the_test_images():
    (run,) = part4.plan("mlp_1", "relu", options(runs=1, epochs=5, batch_size=20))
    recorded = part4.train_run(run, THREE_SETS, lambda step: None)
    assert recorded["train_acc_curve"][-1].item() == pytest.approx(100)
    assert recorded["test_acc"].item() == pytest.approx(20)


def test_no_image_is_in_two_of_the_sets():
    split = load("synthetic", Path("unused"), torch.device("cpu"), quick=True)
    whole = load("synthetic", Path("unused"), torch.device("cpu"), quick=True, split_seed=None)

    def contents(examples):
        return {
            (image.numpy().tobytes(), label.item()) for image, label in zip(*examples, strict=True)
        }

    train, val, test = map(contents, (split.train, split.val, split.test))
    assert (len(train), len(val), len(test)) == (4500, 500, 1000)
    assert train.isdisjoint(val)
    assert test.isdisjoint(train | val)
    assert train | val == contents(whole.train)


def different_starts(runs):
    """How many different initial weights and how many different batch orders `runs` have."""
    starts = [run.start(THREE_SETS) for run in runs]
    weights = {first_layer(model).weight.detach().numpy().tobytes() for model, _ in starts}
    orders = {tuple(torch.randperm(1000, generator=order).tolist()) for _, order in starts}
    return len(weights), len(orders)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_run_has_its_own_weights_and_batch_order(name):
    assert different_starts(part3.plan(name, options())) == (10, 10)


def test_trainings_that_are_compared_start_alike():
    one = options(runs=1)
    for runs in (
        [run for activation in part4.ACTIVATIONS for run in part4.plan("cnn_3", activation, one)],
        [run for rate in part5.LEARNING_RATES.values() for run in part5.plan(one, [rate])],
    ):
        assert len(runs) > 1
        assert different_starts(runs) == (1, 1)


def test_optimizers_are_those_of_the_assignment():
    """Adam and SGD "with default parameters"; `fused` is the same arithmetic, faster."""
    model = build("mlp_1")
    for (run, *_), expected in (
        (part3.plan("mlp_1", options()), torch.optim.Adam(model.parameters())),
        (part4.plan("mlp_1", "relu", options()), torch.optim.SGD(model.parameters(), lr=0.01)),
        (part5.plan(options(), [0.1]), torch.optim.SGD(model.parameters(), lr=0.1)),
    ):
        optimizer = run.optimizer_for(model, *run.learning_rates)
        assert type(optimizer) is type(expected)
        assert optimizer.defaults | {"fused": None} == expected.defaults | {"fused": None}


@pytest.mark.parametrize(
    ("script", "arguments", "part", "names"),
    [
        (part3, [], "part3", ARCHITECTURES),
        (part4, [], "part4", ARCHITECTURES),
        (part4, ["--unscaled"], "part4_unscaled", ARCHITECTURES),
        (part5, [], "part5", ["cnn_4"]),
    ],
    ids=["part3", "part4", "part4_unscaled", "part5"],
)
def test_a_script_without_options_makes_the_committed_dictionaries(
    script, arguments, part, names, tmp_path, monkeypatch
):
    """From the committed records: it finds all that it would train, as it would train it."""
    shutil.copytree(RESULTS / "runs", tmp_path / "runs")
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # were something missing, it fails at once
    folders = ["--out", str(tmp_path), "--data-dir", str(tmp_path / "no_data")]
    monkeypatch.setattr(sys, "argv", [script.__file__, *folders, *arguments])
    script.main()
    assert {path.name for path in tmp_path.glob("*.pkl")} == {f"{part}_{n}.pkl" for n in names}
    for path in tmp_path.glob("*.pkl"):
        made, committed = load_dictionary(path), load_dictionary(RESULTS / path.name)
        assert list(made) == list(committed)
        for key in made:
            np.testing.assert_array_equal(made[key], committed[key], err_msg=key)
