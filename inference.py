"""The forward pass over many images at once, when no gradient is needed.

Two thirds of a CNN's training in part 3 are validation, nearly all of it convolution. What this
file does on a CPU leaves finite logits as they are, up to rounding; a GPU takes plain passes.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

PLAIN_CHUNK = 5_000  # images in a plain forward pass, so that any GPU has the memory for it
CHUNK = 100  # images whose feature maps stay in a CPU core's cache; over 250 they do not
REGISTER = 16  # numbers that a register of AVX-512 holds: the output channels it computes at once

Layer = Callable[[Tensor], Tensor]


def infer(model: nn.Module, images: Tensor) -> Tensor:
    """The logits (N, 10) of `images` (N, 1, 32, 32), on their device.

    On a CPU each thread takes chunks of the images through the whole network, so that threads do
    not wait for each other after every layer.
    """
    if images.device.type != "cpu" or not any(isinstance(m, nn.Conv2d) for m in model.modules()):
        with torch.inference_mode():
            return torch.cat([model(chunk) for chunk in images.split(PLAIN_CHUNK)])

    num_threads = torch.get_num_threads()
    with torch.inference_mode():
        layers = [faster(layer) for layer in model] if type(model) is nn.Sequential else [model]

    @torch.inference_mode()  # it holds for the calling thread only
    def logits_of(chunk: Tensor) -> Tensor:
        for layer in layers:
            chunk = layer(chunk)
        return chunk

    # set_num_threads holds for the thread that calls it, and for threads that are started later
    with ThreadPoolExecutor(num_threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        logits = torch.cat(list(pool.map(logits_of, images.split(CHUNK))))
    torch.set_num_threads(num_threads)
    return logits


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
