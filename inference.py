"""The classes that a network gives to many images at once, when no gradient is needed.

More than half of a CNN's training in part 3 is validation, nearly all of it convolution. What this
file does about that on a CPU leaves the classes as single precision gives them, up to rounding; a
GPU takes plain passes.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

PLAIN_CHUNK = 5_000  # images in a plain forward pass, so that any GPU has the memory for it
CHUNK = 100  # images whose feature maps stay in a CPU core's cache; over 250 they do not
REGISTER = 16  # numbers that a register of AVX-512 holds: the output channels it computes at once
SAMPLE = 200  # images at least whose error in bfloat16 is measured
SAFETY = 1.5  # how often the largest error has to fit between the two largest logits

Layer = Callable[[Tensor], Tensor]


@torch.inference_mode()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """The class (N,) int64 with the largest logit of each of `images` (N, 1, 32, 32).

    On a CPU each thread takes chunks of the images through the whole network, so that threads do
    not wait for each other after every layer. Where the CPU has bfloat16, which is twice as fast,
    single precision decides only the images whose two largest logits are close.
    """
    if images.device.type != "cpu" or not any(isinstance(m, nn.Conv2d) for m in model.modules()):
        return torch.cat([model(chunk).argmax(1) for chunk in images.split(PLAIN_CHUNK)])
    is_sequence = type(model) is nn.Sequential
    layers = [faster(layer) for layer in model] if is_sequence else [model]
    pays = len(images) >= 10 * SAMPLE and images.dtype == torch.float32 and has_bfloat16()
    with single_threads() as threads:
        if is_sequence and pays:
            rough = logits_of(in_bfloat16(model), images, threads)
            return decide(rough, lambda close: logits_of(layers, images[close], threads))
        return logits_of(layers, images, threads).argmax(1)


@contextmanager
def single_threads() -> Iterator[Executor]:
    """As many threads as PyTorch takes for a layer, each of which computes layers alone."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # for this thread and those that it starts
    try:
        with ThreadPoolExecutor(num_threads) as threads:
            yield threads
    finally:
        torch.set_num_threads(num_threads)


def logits_of(layers: list[Layer], images: Tensor, threads: Executor) -> Tensor:
    """The logits (N, 10) of `images` (N, 1, 32, 32) after all `layers`."""

    @torch.inference_mode()  # it holds for the calling thread only
    def forward(out: Tensor) -> Tensor:
        for layer in layers:
            out = layer(out)
        return out

    return torch.cat(list(threads.map(forward, images.split(CHUNK))))


def has_bfloat16() -> bool:
    """Whether the CPU has AVX-512's products of bfloat16, as far as PyTorch can tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()
    return capabilities.get("avx512_bf16", False)


def in_bfloat16(model: nn.Sequential) -> list[Layer]:
    """The layers of `model` in bfloat16: 8 significant bits, where single precision has 24.

    The first convolution with its activation and the last layer stay in single precision: they
    take little of the time and cause about half of the error.
    """
    middle = deepcopy(model[2:-1]).bfloat16()
    layers = [*model[:2], Tensor.bfloat16, *middle, Tensor.float, *model[2:][-1:]]
    return [faster(layer) for layer in layers]


def decide(rough: Tensor, precise_logits: Callable[[Tensor], Tensor]) -> Tensor:
    """The classes (N,) of images with `rough` logits (N, 10), as more precise logits decide them.

    `precise_logits(places)` computes those of some images (n, 10): first of a sample, then of all
    whose two largest logits are no further apart than `SAFETY` times the largest error so far of a
    difference of two logits. That is an estimate, no bound: a class may be wrong where an error is
    larger than all that were measured, and so much that it bridges the two largest logits.
    """
    classes = rough.argmax(1)
    largest, second = rough.topk(2, 1).values.unbind(1)
    margins = (largest - second).nan_to_num(0.0, posinf=0.0)
    errors = torch.full_like(margins, -1.0)  # -1: not known
    places = torch.arange(len(rough))[:: max(1, len(rough) // SAMPLE)]
    while len(places):
        precise = precise_logits(places)
        classes[places] = precise.argmax(1)
        difference = precise - rough[places]
        errors[places] = difference.amax(1) - difference.amin(1)
        far = margins > SAFETY * errors.max()  # none is, if that is NaN
        places = ((errors == -1) & ~far).nonzero().flatten()
    return classes


def faster(layer: nn.Module) -> Layer:
    """What computes the same as `layer` in less time on a CPU, or `layer` itself."""
    if (
        isinstance(layer, nn.MaxPool2d)
        and (layer.kernel_size, layer.stride, layer.padding, layer.dilation) == (2, 2, 0, 1)
        and not (layer.ceil_mode or layer.return_indices)
    ):
        return max_of_four
    if (
        isinstance(layer, nn.Conv2d)
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and 2 * layer.out_channels <= REGISTER
        and (layer.stride, layer.padding, layer.dilation) == ((1, 1), (0, 0), (1, 1))
        and layer.groups == 1
        and layer.bias is not None
    ):
        return pair_columns(layer)
    return layer


def max_of_four(images: Tensor) -> Tensor:
    """MaxPool-2x2 without the places of the maxima, which only a gradient needs."""
    height, width = (size // 2 * 2 for size in images.shape[2:])
    rows = torch.maximum(images[:, :, 0:height:2], images[:, :, 1:height:2])
    return torch.maximum(rows[..., 0:width:2], rows[..., 1:width:2])


def pair_columns(conv: nn.Conv2d) -> Layer:
    """A valid convolution that computes two neighbouring columns at once.

    Every kernel stands twice in a kernel one column wider, on the left and on the right, zeros on
    the other side. With stride 2 that gives columns 0 and 1, then 2 and 3, and so on, as twice as
    many channels, which fill a register that `conv` half fills.
    """
    left, right = pad(conv.weight, (0, 1)), pad(conv.weight, (1, 0))
    kernels = torch.cat([left, right]).contiguous(memory_format=torch.channels_last)
    biases = conv.bias.repeat(2)

    def paired(images: Tensor) -> Tensor:
        if (images.shape[3] - conv.kernel_size[1]) % 2 == 0:  # an odd number of columns
            return conv(images)
        out = conv2d(images, kernels, biases, stride=(1, 2)).permute(0, 2, 3, 1)
        num_images, height, half_width, _ = out.shape  # in memory as (N, H, W, O) would be
        out = out.reshape(num_images, height, 2 * half_width, conv.out_channels)
        return out.permute(0, 3, 1, 2)

    return paired
