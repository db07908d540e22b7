"""How the scripts train: which images, weights and order, what is recorded, which results."""

import os
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT, TRAINING_SCRIPTS, call_script
from helpers_records import few_images, options
from PIL import Image
from torch.nn.functional import cross_entropy

import data
import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from data import BatchLoader, Data, Examples
from experiments import records
from experiments.runner import train_missing
from experiments.training import new_model
from models import ARCHITECTURES, first_layer

PART3, PART4, PART5 = TRAINING_SCRIPTS
REFERENCE = ROOT / "results" / "reference"
CPU = torch.device("cpu")
SMALL = {"epochs": 4, "batch_size": 20}
KINDS = {
    "part3": (part3, part3.configure("mlp_2", **SMALL)),
    "part4 ReLU": (part4, part4.configure("cnn_3", "relu", **SMALL)),
    "part4 sigmoid": (part4, part4.configure("mlp_1", "sigmoid", **SMALL)),
    "part5 constant": (part5, part5.configure("mlp_2", "0.1", [0.1], **SMALL)),
    "part5 schedule": (
        part5,
        part5.configure("mlp_2", "two drops", [0.1, 0.01, 0.001], drop_epochs=(1, 3), **SMALL),
    ),
    "part5 Adam": (part5, part5.configure("mlp_2", "Adam", [0.001], **SMALL)),
}  # fmt: skip


# ---- Which images


def black_and_white(percent):
    """200 images, black of class 0 and white of class 1; the rest of `percent` is labelled 2."""
    classes = torch.arange(200) % 2
    images = (2.0 * classes - 1).reshape(200, 1, 1, 1).repeat(1, 1, 32, 32)
    return Examples(images, torch.where(torch.arange(200) < 2 * percent, classes, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_each_accuracy_is_of_its_own_images(kind):
    """A network that tells black from white is right about as many images as are labelled so."""
    script, config = KINDS[kind]
    three_sets = Data(*map(black_and_white, (100, 60, 20)), "")
    recorded = script.train_run(config, three_sets, lambda step: None)
    assert recorded["train_acc_curve"][-1].item() == pytest.approx(100)
    assert recorded["test_acc"].item() == pytest.approx(20)
    if script is not part4:  # which has no validation set
        assert recorded["val_acc_curve"][-1].item() == pytest.approx(60)


@pytest.mark.parametrize("kind", ["", "unscaled", "initialized"])
def test_part4_trains_on_all_training_images_also_unscaled_or_initialized(
    kind, tmp_path, monkeypatch
):
    few_images(monkeypatch)
    opts = options(tmp_path, batch_size=50)  # 10 steps: none of the 500 images is left out
    pixels = (0.0, 255.0) if kind == "unscaled" else (-1.0, 1.0)
    scaled = data.load("synthetic", "", CPU, True, split_seed=None, pixel_range=pixels)
    assert (scaled.train.images.min(), scaled.train.images.max()) == pixels
    for activation, initialization in (("relu", "he"), ("sigmoid", "glorot")):
        config = part4.configure("mlp_2", activation, kind, **opts.settings())
        assert config.part == ("part4_" + kind).rstrip("_")
        assert config.initialization == (initialization if kind == "initialized" else "default")
        ((record,),) = train_missing([config], part4.train_run, opts).values()
        expected = part4.train_run(config, scaled, lambda step: None)
        assert record["loss_curve"].tolist() == pytest.approx([expected["loss_curve"][0].item()])


# ---- What is recorded


def random_examples(count, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 1, 32, 32, generator=generator) * 2 - 1
    return Examples(images, torch.randint(10, (count,), generator=generator))


def percent_correct(model, examples):
    hits = model(examples.images).argmax(1) == examples.labels
    return 100 * hits.sum().item() / len(hits)


def train_by_hand(config, data):
    """What a record has to hold, from a loop without anything of ours but the network."""
    model, curves = new_model(config, CPU), defaultdict(list)
    weight = first_layer(model).weight
    generator = torch.Generator().manual_seed(config.seed)
    step, losses, hits = 0, [], []
    for epoch in range(config.epochs):
        rate = config.learning_rates[sum(epoch >= drop for drop in config.drop_epochs)]
        if config.optimizer == "Adam" and epoch == 0:
            adam = torch.optim.Adam(model.parameters())
        for batch in torch.randperm(len(data.train.labels), generator=generator).split(20):
            images, labels = data.train.images[batch], data.train.labels[batch]
            logits = model(images)
            loss = cross_entropy(logits, labels)
            model.zero_grad()
            loss.backward()
            before = weight.detach().clone()
            if config.optimizer == "Adam":
                adam.step()
            else:
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.sub_(rate * parameter.grad)
            step += 1
            losses.append(loss.item())
            hits += (logits.argmax(1) == labels).tolist()
            if step % config.record_every == 0:
                curves["loss_curve"].append(sum(losses) / len(losses))
                curves["train_acc_curve"].append(100 * sum(hits) / len(hits))
                if config.part == "part4":
                    # Question 1.2 of the assignment: dL/dW is (W_k - W_k+1) / learning rate
                    length = (before - weight.detach()).square().sum().sqrt().item() / rate
                    curves["grad_curve"].append(length)
                else:
                    curves["val_acc_curve"].append(percent_correct(model, data.val))
                losses, hits = [], []
    return dict(curves) | {"test_acc": percent_correct(model, data.test), "weights": weight}


@pytest.mark.parametrize("record_every", [10, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_what_a_loop_by_hand_gives(kind, record_every):
    """The last of 10 batches of an epoch is smaller."""
    script, config = KINDS[kind]
    assert config.record_every == 10  # "for every 10 steps"
    config, steps = replace(config, record_every=record_every), []
    data = Data(*map(random_examples, (190, 60, 50), range(3)), "")
    recorded = script.train_run(config, data, steps.append)
    expected = train_by_hand(config, data)
    assert steps == list(range(record_every, 41, record_every))
    assert recorded.keys() == expected.keys()
    torch.testing.assert_close(recorded["weights"], expected["weights"], rtol=1e-3, atol=1e-5)
    for name, curve in expected.items():
        if name.endswith("_curve"):  # differences of weights have few digits in single precision
            assert [value.item() for value in recorded[name]] == pytest.approx(curve, rel=1e-3)
    assert recorded["test_acc"].item() == pytest.approx(expected["test_acc"])


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
    assert different_starts(part3.configure(name).replicate(10)) == (10, 10)


def test_runs_that_are_compared_start_alike():
    assert different_starts(part4.configure("cnn_3", a) for a in part4.ACTIVATIONS) == (1, 1)
    of_part5 = [config for kind, (_, config) in KINDS.items() if kind.startswith("part5")]
    assert different_starts(of_part5) == (1, 1)
    assert len({config.variant for config in of_part5}) == len(of_part5)


def test_optimizers_are_those_of_the_assignment():
    """Adam and SGD "with default parameters"; `fused` is the same arithmetic, faster."""
    parameters = [torch.zeros(1)]
    adam, sgd = torch.optim.Adam(parameters), torch.optim.SGD(parameters, lr=0.01)
    for optimizer, expected in (
        (part3.new_optimizer(parameters), adam),
        (part4.new_optimizer(parameters), sgd),
        (part5.new_optimizer("cnn_4_0.01", 0.01, parameters), sgd),
        (part5.new_optimizer("cnn_4_two_drops_2_3", 0.01, parameters), sgd),
        (part5.new_optimizer("cnn_4_adam", part5.ADAM_LEARNING_RATE, parameters), adam),
    ):
        assert type(optimizer) is type(expected)
        assert optimizer.defaults | {"fused": None} == expected.defaults | {"fused": None}
    assert (part5.LEARNING_RATES, part5.SCHEDULE) == ((0.1, 0.01, 0.001),) * 2


def test_what_is_recorded_of_the_optimizer_is_what_trains(monkeypatch):
    """Also in part 5, whose Adam and SGD may be exchanged for others."""
    made = []

    def new_optimizer(variant, rate, parameters):
        kind = torch.optim.RMSprop if variant.endswith("_adam") else torch.optim.Adamax
        made.append(kind(parameters, lr=rate))
        return made[-1]

    monkeypatch.setattr(part5, "new_optimizer", new_optimizer)
    data = Data(*[random_examples(40, 0)] * 3, "")
    for kind, name in (("Adam", "RMSprop"), ("0.1", "Adamax")):
        config = part5.configure("mlp_2", kind, [0.1], **SMALL)
        assert config.optimizer == name
        part5.train_run(config, data, lambda step: None)
        assert type(made[-1]).__name__ == name
        assert made[-1].param_groups[0]["params"][0].numel() > 1  # those of the network


# ---- The committed results

COURSE_UTILS = """
import os
def save(save_dir, filename):
    open(os.path.join(save_dir, filename + ".png"), "w").close()
def part2Plots(out, nmax=64, save_dir='', filename=''):
    save(save_dir, filename)
def part3Plots(results, save_dir='', filename='', show_plot=True):
    save(save_dir, filename)
part4Plots = part5Plots = part3Plots
def visualizeWeights(weights, save_dir, filename='weigths'):
    save(save_dir, filename)
"""
RUN_ALL = """
import functools, runpy, sys, data, torch
torch.Tensor.backward = None  # no training
data.read = functools.cache(data.read)  # CIFAR-10 once
for line in sys.argv[1:]:
    sys.argv = [*line.split(), "--out", "out"]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""
COMMANDS = (
    PART3, PART4, f"{PART4} --unscaled", f"{PART4} --initialized --arch cnn_3 cnn_4 cnn_5", PART5
)  # fmt: skip


def test_the_committed_dictionaries_are_made_from_the_records_with_the_courses_utils(
    cifar10_dir, tmp_path
):
    """The scripts find all that they would train, as they would train it.

    A file with the course's signatures and nothing else is in the place of utils.py.
    """
    for source in ROOT.glob("*.py"):
        shutil.copy(source, tmp_path)
    shutil.copytree(ROOT / "experiments", tmp_path / "experiments")
    (tmp_path / "utils.py").write_text(COURSE_UTILS)
    shutil.copytree(REFERENCE / "runs", tmp_path / "out" / "runs")
    lines = ["part2_conv.py", *(f"{command} --processes 1" for command in COMMANDS)]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL, *lines], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"CIFAR10_DIR": str(cifar10_dir)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.count("nothing to train") == 4 + 3  # part 5 asks three times
    made, committed = (
        {path.name: path.read_bytes() for path in folder.glob("*.pkl")}
        for folder in (tmp_path / "out", REFERENCE)
    )
    assert len(made) == 5 + 5 + 5 + 3 + 2
    assert made == committed
    for figure in ("part2", "part3", "part3_weights_cnn_5", "part4", "part5_cnn_4"):
        assert (tmp_path / "out" / f"{figure}.png").read_bytes() == b""


# ---- Learning rates with which losses are no numbers: recorded, named and drawn


@pytest.mark.filterwarnings("error::RuntimeWarning", "error::UserWarning")
@pytest.mark.parametrize(
    ("script", "rate", "arch", "lost"),
    [
        (part3, 1e30, "mlp_1", {""}),
        (part4, 1e6, "mlp_1", None),  # it depends on the processor
        (part4, 1e30, "mlp_1", {"_relu"}),
        (part5, 1e30, "mlp_2", {"_1e+30", "_one_drop_2", "_two_drops_2_3"}),
    ],
)
def test_lost_runs_are_recorded_named_and_drawn_and_the_others_trained(
    script, rate, arch, lost, tmp_path, monkeypatch
):
    few_images(monkeypatch)
    arguments = ["--dataset", "synthetic", "--quick", "--batch-size", 15, "--epochs", 1]
    if script is part3:
        monkeypatch.setattr(script, "new_optimizer", lambda p: torch.optim.Adam(p, lr=rate))
    elif script is part4:
        monkeypatch.setattr(script, "LEARNING_RATE", rate)
    else:
        monkeypatch.setattr(script, "LEARNING_RATES", (rate, 0.01, 0.001))
        monkeypatch.setattr(script, "SCHEDULE", (rate, 0.01, 0.001))
        arguments[-1:] = [4, "--drop-epochs", 2, 3]
    script_name = f"{script.__name__}.py"
    said = call_script(script_name, *arguments, "--arch", arch, "--out", tmp_path).stdout
    found = set()
    for variant, (record, *_) in records.read(tmp_path, script.PART).items():
        (line,) = (line for line in said.splitlines() if f" {variant} run_00: " in line)
        is_lost = not np.isfinite(record["loss_curve"]).all()
        assert is_lost == ("loss_curve not finite from step" in line)
        assert 0 <= record.test_acc <= 100
        found |= {variant.removeprefix(arch)} if is_lost else set()
    assert lost in (None, found)
    pictures = [*tmp_path.glob("*.png")]
    assert len(pictures) >= 2
    for path in pictures:
        with Image.open(path) as image:
            assert np.asarray(image.convert("L")).std() > 10  # something is drawn
