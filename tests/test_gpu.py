"""What a run asks of a GPU.

The "meta" device has no numbers, so any wait for it is an error.
"""

from collections import Counter
from dataclasses import replace

from experiments import cli
from experiments.training import new_model

import pytest
import torch
from helpers_records import options
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from data import prepare, read

EPOCHS = 2
META = torch.device("meta")
OPTIONS = options(epochs=EPOCHS, batch_size=225, arch="cnn_4")
IMAGES = read("synthetic", "unused", quick=True)


class Traffic(TorchDispatchMode):
    """Counts the copies between devices by their direction; all else has to stay on one device."""

    def __init__(self):
        super().__init__()
        self.copies = Counter()
        self.layouts = set()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        out = operation(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        devices = list(dict.fromkeys(t.device.type for t in tensors))
        if len(devices) > 1:
            copy = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)
            assert operation in copy, f"{operation} of tensors on {devices}"
            self.copies[tuple(devices)] += 1
        if operation is torch.ops.aten.convolution.default:
            weight = args[1]
            self.layouts.add(weight.is_contiguous())
        return out


def not_fused(config, model, learning_rate):
    """An optimizer for a device that has no fused step."""
    optimizer_class = getattr(torch.optim, config.optimizer)
    return optimizer_class(model.parameters(), lr=learning_rate, foreach=True)


CONFIGS = {
    "part3 mlp_2": (part3, part3.configure("mlp_2", OPTIONS)),
    "part3 cnn_5": (part3, part3.configure("cnn_5", OPTIONS)),
    "part4 cnn_5": (part4, part4.configure("cnn_5", "relu", OPTIONS)),
    "part5 cnn_4": (part5, part5.configure(OPTIONS, drop_epochs=[1])),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gpu_is_never_waited_for_and_is_sent_one_order_an_epoch(name, monkeypatch):
    part, config = CONFIGS[name]
    monkeypatch.setattr(part, "new_optimizer", not_fused)
    prepared = prepare(IMAGES, META, config.split_seed, config.pixel_range)
    steps = []
    with Traffic() as traffic:
        values = part.train_run(config, prepared, steps.append)
    num_parameters = len(list(new_model(config, META).parameters()))
    assert traffic.copies == {("cpu", "meta"): config.epochs + num_parameters}
    assert {tensor.device.type for tensor in tree_leaves(values)} == {"meta"}
    assert steps == list(range(10, config.num_steps(len(prepared.train.labels)) + 1, 10))
    assert traffic.layouts <= {True}  # channels_last belongs to CPUs


def test_images_are_scaled_on_the_cpu_and_moved_once():
    with Traffic() as traffic:
        prepare(IMAGES, META, split_seed=449, pixel_range=(-1.0, 1.0))
    assert traffic.copies == {("cpu", "meta"): 6}  # images and labels of three sets


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", CONFIGS)
def test_an_epoch_on_a_gpu_waits_for_nothing_and_gives_the_same_bits_twice(name):
    part, config = CONFIGS[name]
    config = replace(config, epochs=1, learning_rates=config.learning_rates[:1], drop_epochs=())
    curves = {}
    for run, device in (("gpu", "cuda"), ("again", "cuda"), ("cpu", "cpu")):
        chosen = cli.select_device(device)
        prepared = prepare(IMAGES, chosen, config.split_seed, config.pixel_range)
        torch.cuda.set_sync_debug_mode("error" if device == "cuda" else "default")
        try:
            values = part.train_run(config, prepared, lambda _: None)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        curves[run] = torch.stack(values["loss_curve"]).cpu()
    assert torch.equal(curves["gpu"], curves["again"])
    torch.testing.assert_close(curves["gpu"][:2], curves["cpu"][:2], rtol=1e-3, atol=1e-4)
