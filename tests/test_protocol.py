"""What is trained on which images and how: the protocol of parts 3 to 5."""

import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path

from experiments import records
from experiments.config import replicate
from experiments.training import new_model, new_optimizer, train

import numpy as np
import pytest
import torch
from conftest import ROOT, call_script
from helpers_faults import without_progress
from helpers_records import options
from PIL import Image

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from data import BatchLoader, Data, Examples, load
from models import ARCHITECTURES, build, first_layer

CPU = torch.device("cpu")
RESULTS = ROOT / "results"
SMALL = ("--dataset", "synthetic", "--quick", "--batch-size", 450, "--out", "out")


@pytest.fixture
def run(tmp_path):
    """Run a script in this process, which has nothing to complain about; return what it says."""

    def run(script, *arguments):
        done = call_script(f"{script.__name__}.py", *arguments, cwd=tmp_path)
        assert not without_progress(done.stderr)
        return done.stdout

    return run


# ---- Which images


def black_and_white(percent):
    """200 images, black of class 0 and white of class 1; the rest of `percent` is labelled 2."""
    classes = torch.arange(200) % 2
    images = (2.0 * classes - 1).reshape(200, 1, 1, 1).repeat(1, 1, 32, 32)
    return Examples(images, torch.where(torch.arange(200) < 2 * percent, classes, 2))


THREE_SETS = Data(*map(black_and_white, (100, 60, 20)), "")
OF_THREE_SETS = options(epochs=6, batch_size=20, arch="mlp_2")
TRAININGS = {
    "part3": (part3, part3.configure("mlp_1", OF_THREE_SETS)),
    "part4": (part4, part4.configure("mlp_1", "relu", OF_THREE_SETS)),
    "part5": (part5, part5.configure(OF_THREE_SETS, 0.01)),
    "schedule": (part5, part5.configure(OF_THREE_SETS, drop_epochs=[6])),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_each_accuracy_is_of_its_own_images(name):
    """A network that tells black from white is right about as many images as are labelled so."""
    script, config = TRAININGS[name]
    recorded = script.train_run(config, THREE_SETS, lambda step: None)
    assert recorded["train_acc_curve"][-1].item() == pytest.approx(100)
    assert recorded["test_acc"].item() == pytest.approx(20)
    if script is not part4:
        assert recorded["val_acc_curve"][-1].item() == pytest.approx(60)


@pytest.mark.parametrize("name", TRAININGS)
def test_points_are_recorded_as_often_as_the_definition_says(name):
    script, config = TRAININGS[name]
    assert config.record_every == 10
    for every in (10, 5):
        steps = []
        recorded = script.train_run(replace(config, record_every=every), THREE_SETS, steps.append)
        assert steps == list(range(every, 10 * config.epochs + 1, every))
        curves = [name for name in recorded if name.endswith("curve")]
        assert len(curves) == 3
        assert all(len(recorded[name]) == len(steps) for name in curves)


# ---- From which weights, in which order, with which optimizer


def different_starts(configs):
    """How many different initial weights and how many different batch orders `configs` have."""
    weights, orders = set(), set()
    for config in configs:
        weights.add(first_layer(new_model(config, CPU)).weight.detach().numpy().tobytes())
        numbers = Examples(torch.arange(1000), torch.arange(1000))
        batches = BatchLoader(numbers, config.batch_size, seed=config.seed)
        orders.add(tuple(torch.cat([labels for _, labels in batches]).tolist()))
    return len(weights), len(orders)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_run_has_its_own_weights_and_batch_order(name):
    assert different_starts(replicate(part3.configure(name, options()), 10)) == (10, 10)


def test_runs_that_are_compared_start_alike():
    opts = options(arch="cnn_4")
    activations = [part4.configure("cnn_3", a, opts) for a in part4.ACTIVATIONS]
    rates = [part5.configure(opts, rate) for rate in part5.LEARNING_RATES.values()]
    schedule = part5.configure(opts, drop_epochs=[2])
    adam = part5.configure(opts, 0.001, optimizer="Adam")
    assert different_starts(activations) == (1, 1)
    assert different_starts([*rates, schedule, adam]) == (1, 1)
    assert len({config.variant for config in (*rates, schedule, adam)}) == 5


def test_optimizers_are_those_of_the_assignment():
    """Adam and SGD "with default parameters"; `fused` is the same arithmetic, faster."""
    model, opts = build("mlp_1"), options(arch="cnn_4")
    adam = torch.optim.Adam(model.parameters())
    for config, expected in (
        (part3.configure("mlp_1", opts), adam),
        (part4.configure("mlp_1", "relu", opts), torch.optim.SGD(model.parameters(), lr=0.01)),
        (part5.configure(opts, 0.1), torch.optim.SGD(model.parameters(), lr=0.1)),
        (part5.configure(opts, part5.ADAM_LEARNING_RATE, optimizer="Adam"), adam),
    ):
        optimizer = new_optimizer(config, model, *config.learning_rates)
        assert type(optimizer) is type(expected)
        assert optimizer.defaults | {"fused": None} == expected.defaults | {"fused": None}


# ---- What the committed results are


@pytest.mark.parametrize(
    ("script", "arguments", "part", "names"),
    [
        (part3, [], "part3", ARCHITECTURES),
        (part4, [], "part4", ARCHITECTURES),
        (part4, ["--unscaled"], "part4_unscaled", ARCHITECTURES),
        (part4, ["--initialized"], "part4_initialized", ("cnn_3", "cnn_4", "cnn_5")),
        (part5, [], "part5", ("cnn_4", "cnn_4_schedules")),
    ],
    ids=["part3", "part4", "part4_unscaled", "part4_initialized", "part5"],
)
def test_a_script_without_options_makes_the_committed_dictionaries(
    script, arguments, part, names, tmp_path, monkeypatch, run
):
    """From the committed records: it finds all that it would train, as it would train it."""
    shutil.copytree(RESULTS / "runs", tmp_path / "runs")
    for proxy in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(proxy, "http://127.0.0.1:9")  # were something missing, it fails at once
    said = run(script, "--out", tmp_path, "--data-dir", tmp_path / "no_data", *arguments)
    assert f"{part}: nothing to train, all is recorded in {tmp_path}\n" in said
    assert {path.name for path in tmp_path.glob("*.pkl")} == {f"{part}_{n}.pkl" for n in names}
    for path in tmp_path.glob("*.pkl"):
        content = (RESULTS / path.name).read_bytes()
        assert b"numpy._core" not in content
        made, committed = (pickle.loads(data) for data in (path.read_bytes(), content))
        assert list(made) == list(committed)
        for key in made:
            np.testing.assert_array_equal(made[key], committed[key], err_msg=key)


# ---- Part 4


@pytest.mark.parametrize("activation", part4.ACTIVATIONS)
@pytest.mark.parametrize("architecture", ["mlp_1", "cnn_3"])
def test_recorded_gradient_is_the_step_over_the_learning_rate(architecture, activation):
    """Question 1.2 of the assignment: dL/dW = (W_k - W_{k+1}) / learning rate, its length here."""
    config = part4.configure(architecture, activation, options(batch_size=5))
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(100, 1, 32, 32, generator=generator) * 2 - 1
    examples = Examples(images, torch.randint(10, (100,), generator=generator))
    recorded = part4.train_run(config, Data(examples, examples, examples, ""), lambda step: None)

    model = new_model(config, CPU)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    weight, lengths = first_layer(model).weight, []
    before = weight.detach().clone()
    for _ in train(
        model, optimizer, BatchLoader(examples, config.batch_size, seed=config.seed), range(1), 1
    ):
        lengths.append((before - weight.detach()).square().sum().sqrt().item() / 0.01)
        before = weight.detach().clone()
    assert len(lengths) == 20
    # Differences of weights in single precision have few digits
    assert torch.stack(recorded["grad_curve"]).tolist() == pytest.approx(lengths[9::10], rel=1e-3)
    torch.testing.assert_close(recorded["weights"].detach(), before)


@pytest.mark.parametrize("kind", ["", "unscaled", "initialized"])
def test_variants_of_part4_are_recorded_named_and_trained_on(kind, tmp_path, run):
    part, initialized = f"part4_{kind}".rstrip("_"), kind == "initialized"
    run(part4, *SMALL, "--epochs", 1, "--arch", "mlp_2", *[f"--{kind}"] * bool(kind))
    (path,) = (tmp_path / "out").glob("*.pkl")
    assert path.name == f"{part}_mlp_2.pkl"
    result = pickle.loads(path.read_bytes())
    assert result["name"] == f"mlp_2 (synthetic, quick{f', {kind}' if kind else ''})"

    pixels = (0.0, 255.0) if kind == "unscaled" else (-1.0, 1.0)
    data = load("synthetic", Path("unused"), CPU, True, split_seed=None, pixel_range=pixels)
    assert (data.train.images.min(), data.train.images.max()) == pixels
    for activation, initialization in (("relu", "he"), ("sigmoid", "glorot")):
        config = part4.configure("mlp_2", activation, options(**{kind: True} if kind else {}))
        record = records.find(config, tmp_path / "out", data.sha256)
        assert record.path.parts[-3:-1] == (part, f"mlp_2_{activation}")
        assert record.config["pixel_range"] == list(pixels)
        assert record.config["initialization"] == (initialization if initialized else "default")
        biases = [p for n, p in new_model(config, CPU).named_parameters() if n.endswith("bias")]
        assert all((bias == 0).all() == initialized for bias in biases)
        expected = part4.train_run(config, data, lambda step: None)
        for curve in ("loss_curve", "grad_curve"):
            values = [value.item() for value in expected[curve]]
            assert record[curve].tolist() == pytest.approx(values, rel=1e-3)
            assert result[f"{activation}_{curve}"] == record[curve].tolist()


# ---- Learning rates with which losses are no numbers: recorded, reported and plotted


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    ("script", "setting", "value", "arguments", "lost_variants", "lost_curves"),
    [
        (part3, "LEARNING_RATE", 1e30, ["mlp_1", "--epochs", 1], "mlp_1", {"loss_curve"}),
        (part4, "LEARNING_RATE", 1e6, ["mlp_1", "--epochs", 1], "mlp_1_relu",
         {"relu_loss_curve", "relu_grad_curve"}),
        (part5, "LEARNING_RATES", {"1": 1e6, "01": 0.01, "001": 0.001}, ["mlp_2", "--epochs", 4],
         r"mlp_2_(lr_1000000.0|drop_\d\d(_\d\d)?)", {"loss_curve_1"}),
    ],
    ids=["part3", "part4", "part5"],
)  # fmt: skip
def test_lost_runs_are_recorded_named_and_drawn_and_the_others_trained(
    script, setting, value, arguments, lost_variants, lost_curves, tmp_path, monkeypatch, run
):
    monkeypatch.setattr(script, setting, value)
    lines, out = run(script, *SMALL, "--arch", *arguments).splitlines(), tmp_path / "out"
    for path in out.glob("runs/*/*/run_00.npz"):
        variant, record = path.parent.name, records.load(path)
        is_lost = bool(re.fullmatch(lost_variants, variant))
        assert np.isfinite(record["loss_curve"]).all() != is_lost, variant
        assert 0 <= record.test_acc <= 100
        (line,) = (line for line in lines if f" {variant} run_00: " in line)
        assert (", loss_curve not finite from step 10" in line) == is_lost
    result = pickle.loads((out / f"{script.__name__[:5]}_{arguments[0]}.pkl").read_bytes())
    lost = {key for key in result if "_curve" in key and not np.isfinite(result[key]).all()}
    assert lost == lost_curves
    pictures = [*out.glob("*.png")]
    assert len(pictures) >= 2
    for path in pictures:
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 10  # something is drawn
            assert image.width > 1000
