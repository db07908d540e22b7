"""What a run asks of a GPU. The "meta" device has no numbers, so any wait for it is an error."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import part3_architectures as part3
import part4_activations as part4
import part5_learning_rate as part5
from data import prepare, read
from experiments.device import select_device
from experiments.training import new_model

META = torch.device("meta")
SMALL = {"epochs": 2, "batch_size": 225}
CONFIGS = {
    "part3 mlp_2": (part3, part3.configure("mlp_2", **SMALL)),
    "part3 cnn_5": (part3, part3.configure("cnn_5", **SMALL)),
    "part4 cnn_5": (part4, part4.configure("cnn_5", "relu", **SMALL)),
    "part5 cnn_4": (
        part5, part5.configure("cnn_4", "one drop", [0.1, 0.01], drop_epochs=[1], **SMALL)
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def arrays():
    return read("synthetic", "unused", quick=True)


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


@pytest.mark.parametrize("name", CONFIGS)
def test_a_gpu_is_never_waited_for_and_is_sent_one_order_an_epoch(name, arrays, monkeypatch):
    script, config = CONFIGS[name]
    if script is part3:  # "meta" has no fused step
        monkeypatch.setattr(part3, "new_optimizer", lambda p: torch.optim.Adam(p, foreach=True))
    prepared = prepare(arrays, META, config.split_seed, config.pixel_range)
    steps = []
    with Traffic() as traffic:
        values = script.train_run(config, prepared, steps.append)
    num_parameters = len(list(new_model(config, META).parameters()))
    assert traffic.copies == {("cpu", "meta"): config.epochs + num_parameters}
    assert {tensor.device.type for tensor in tree_leaves(values)} == {"meta"}
    assert steps == list(range(10, config.num_steps(len(prepared.train.labels)) + 1, 10))
    assert traffic.layouts <= {True}  # channels_last belongs to CPUs


def test_images_are_scaled_on_the_cpu_and_moved_once(arrays):
    with Traffic() as traffic:
        prepare(arrays, META, split_seed=449, pixel_range=(-1.0, 1.0))
    assert traffic.copies == {("cpu", "meta"): 6}  # images and labels of three sets


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("name", CONFIGS)
def test_an_epoch_on_a_gpu_waits_for_nothing_and_gives_the_same_bits_twice(name, arrays):
    script, config = CONFIGS[name]
    config = replace(config, epochs=1, learning_rates=config.learning_rates[:1], drop_epochs=())
    curves = {}
    for run, device in (("gpu", "cuda"), ("again", "cuda"), ("cpu", "cpu")):
        prepared = prepare(arrays, select_device(device), config.split_seed, config.pixel_range)
        torch.cuda.set_sync_debug_mode("error" if device == "cuda" else "default")
        try:
            values = script.train_run(config, prepared, lambda _: None)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        curves[run] = torch.stack(values["loss_curve"]).cpu()
    assert torch.equal(curves["gpu"], curves["again"])
    torch.testing.assert_close(curves["gpu"][:2], curves["cpu"][:2], rtol=1e-3, atol=1e-4)
