"""Part 4: what the recorded gradient is, and the bonus question's unscaled inputs."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from conftest import TINY, run_script

from data import Data, load
from files import load_dictionary
from models import first_layer
from part4_activations import ACTIVATIONS, plan, train_run
from records import read_record
from training import Examples, train

TINY_OPTIONS = {"runs": 1, "epochs": 1, "batch_size": 150, "seed": 0, "dataset": "synthetic"}


def start(architecture, activation, **changes):
    (run,) = plan(architecture, activation, Namespace(**TINY_OPTIONS | changes))
    return run


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("architecture", ["mlp_1", "cnn_3"])
def test_recorded_gradient_is_the_step_over_the_learning_rate(architecture, activation):
    """Question 1.2 of the assignment: dL/dW = (W_k - W_{k+1}) / learning rate, its length here."""
    run = start(architecture, activation, batch_size=5, unscaled=False)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(100, 1, 32, 32, generator=generator) * 2 - 1
    examples = Examples(images, torch.randint(10, (100,), generator=generator))
    data = Data(examples, examples, examples, "")
    recorded = train_run(run, data, lambda step: None)

    model, generator = run.start(data)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    weight, lengths = first_layer(model).weight, []
    before = weight.detach().clone()
    for _ in train(model, optimizer, examples, range(1), 5, generator, record_every=1):
        lengths.append((before - weight.detach()).square().sum().sqrt().item() / 0.01)
        before = weight.detach().clone()
    assert len(lengths) == 20
    # Differences of weights in single precision have few digits
    assert torch.stack(recorded["grad_curve"]).tolist() == pytest.approx(lengths[9::10], rel=1e-3)
    torch.testing.assert_close(recorded["weights"].detach(), before)


def test_unscaled_pixels_are_recorded_named_and_trained_on(tmp_path):
    arguments = ("--epochs", 1, "--arch", "mlp_1", "--device", "cpu", "--out", tmp_path)
    run_script("part4_activations.py", "--unscaled", *TINY, *arguments)
    result = load_dictionary(tmp_path / "part4_unscaled_mlp_1.pkl")
    assert result["name"] == "mlp_1 (synthetic, quick, unscaled)"

    device, pixels = torch.device("cpu"), (0.0, 255.0)
    data = load("synthetic", Path("unused"), device, True, split_seed=None, pixel_range=pixels)
    assert (data.train.images.min(), data.train.images.max()) == pixels
    for activation in ACTIVATIONS:
        run = start("mlp_1", activation, unscaled=True)
        record = read_record(run.path(tmp_path))
        assert record.path.parts[-3:-1] == ("part4_unscaled", f"mlp_1_{activation}")
        assert record.config["pixel_range"] == [0.0, 255.0]
        expected = train_run(run, data, lambda step: None)
        for curve in ("loss_curve", "grad_curve"):
            assert record[curve][0] == pytest.approx(expected[curve][0].item(), rel=1e-3)
