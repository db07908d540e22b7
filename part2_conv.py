"""Part 2: the forward pass of a convolutional layer in NumPy, run on a small batch of digits.

The script convolves the images with the kernels and prints the largest difference from
torch.conv2d. It saves the output (part2_out.npy), its picture (part2.png), the picture with images
and kernels beside it (part2_kernels.png), and what the report says about them (part2.json).

    python part2_conv.py --samples samples_4.npy --kernel kernel.npy    # the course's files
    python part2_conv.py                                                # built-in digits, kernels
"""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view

from experiments import ends
from experiments.options import Parser, check_writable, path
from experiments.plots import plot_convolution
from experiments.storage import UserError, read_npy, saved, write_atomically
from utils import part2Plots

WAY_OUT = "--samples and --kernel name .npy files; without them input is built in"


def my_conv2d(input: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Compute what `torch.conv2d(input, kernel)` computes with its default settings.

    They are no padding, stride 1, dilation 1, one group and no bias.

    As in PyTorch the kernel is not flipped, so this is a cross-correlation.

    input: (N, C, H, W), "[batch size, input_channels, input_height, input_width]".
    kernel: (O, C, h, w), "[output_channels, input_channels, filter_height, filter width]".

    Returns (N, O, H-h+1, W-w+1) of their common floating dtype, float32 or float64. Raises
    ValueError if the shapes do not fit together.
    """
    given = f"input is {input.dtype} {input.shape}, kernel is {kernel.dtype} {kernel.shape}"
    if input.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"both arrays must have 4 dimensions: {given}")
    if input.size == 0 or kernel.size == 0:
        raise ValueError(f"neither array may be empty: {given}")
    if input.shape[1] != kernel.shape[1]:
        raise ValueError(
            f"both arrays must have the same number of channels (second dimension): {given}"
        )
    if input.shape[2] < kernel.shape[2] or input.shape[3] < kernel.shape[3]:
        raise ValueError(f"the kernel must not be larger than the image: {given}")

    dtype = np.result_type(input, kernel, np.float32)  # whole numbers would wrap around
    # (N, C, H', W', h, w): at each output position the pixels under the kernel, not copied yet
    windows = sliding_window_view(input.astype(dtype), kernel.shape[2:], axis=(2, 3))
    num_images, _, out_height, out_width, _, _ = windows.shape
    # (N, C*h*w, H'*W'): the copy that a matrix product needs, image rows innermost for speed
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(num_images, -1, out_height * out_width)
    # Each output is the sum of products of a kernel with the pixels under it:
    # (O, C*h*w) @ (N, C*h*w, H'*W')
    out = kernel.astype(dtype).reshape(len(kernel), -1) @ columns
    return out.reshape(num_images, len(kernel), out_height, out_width)


def draw_digits() -> np.ndarray:
    """Draw the digits 0 to 4 in matplotlib's own font: (5, 1, 28, 28) uint8, white on black."""
    images = []
    for digit in range(5):
        figure = Figure(figsize=(1, 1), dpi=28, facecolor="black")
        canvas = FigureCanvasAgg(figure)
        figure.text(0.5, 0.46, str(digit), color="white", size=60, ha="center", va="center")
        canvas.draw()
        images.append(np.asarray(canvas.buffer_rgba())[None, :, :, 0])
    return np.stack(images)


def make_kernels() -> np.ndarray:
    """Make eight kernels (8, 1, 4, 4) float64: four edges, two lines, a blur, a sharpening."""
    x, y = np.meshgrid([-1.5, -0.5, 0.5, 1.5], [-1.5, -0.5, 0.5, 1.5])
    centre = (abs(x) < 1) & (abs(y) < 1)
    kernels = [
        np.sign(y), np.sign(x), np.sign(x + y), np.sign(x - y),  # edges
        np.where(abs(y) < 1, 1.0, -1.0), np.where(abs(x) < 1, 1.0, -1.0),  # lines
        np.full((4, 4), 1 / 16), np.where(centre, 1.0, -0.25),
    ]  # fmt: skip
    return np.stack(kernels)[:, None]


def compare_with_torch(input: np.ndarray, kernel: np.ndarray, out: np.ndarray) -> float:
    """Return the largest difference of `out` from torch.conv2d in double precision."""
    operands = (torch.from_numpy(array.astype(np.float64)) for array in (input, kernel))
    return float(np.abs(out - torch.conv2d(*operands).numpy()).max())


def convolve(options: Namespace) -> np.ndarray:
    """Convolve the images with the kernels that the options name, and save the output: section 2.1.

    Returns the output.
    """
    input = read_npy(options.samples, WAY_OUT) if options.samples else draw_digits()
    kernel = read_npy(options.kernel, WAY_OUT) if options.kernel else make_kernels()
    print(f"samples: {options.samples or 'built-in digits (--samples names a file)'}")
    print(f"kernel: {options.kernel or 'built-in kernels (--kernel names a file)'}")
    try:
        out = my_conv2d(input, kernel)
    except (TypeError, ValueError) as error:
        files = f"{options.samples or 'samples'}, {options.kernel or 'kernel'}"
        raise UserError(f"{files}: {error}; {WAY_OUT}") from error
    difference = compare_with_torch(input, kernel, out)
    print(f"input {input.shape} * kernel {kernel.shape} -> out {out.shape} {out.dtype}")
    print(f"largest difference from torch.conv2d: {difference:.2g}")
    known = {
        "samples": options.samples and options.samples.name,
        "kernel": options.kernel and options.kernel.name,
        "largest_difference": difference,
        "kernel_sums": kernel.sum((1, 2, 3), dtype=np.float64).round(4).tolist(),
    }
    write_atomically(options.out / "part2_out.npy", saved(np.save, out))
    write_atomically(options.out / "part2.json", json.dumps(known).encode())
    plot_convolution(input, kernel, out, options.out / "part2_kernels.png")
    return out


def main() -> None:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--samples", type=path, help="images (N, C, H, W) as .npy (default: built-in digits)")
    add("--kernel", type=path, help="kernels (O, C, h, w) as .npy (default: built-in kernels)")
    add("--out", type=path, help="default: results; results/synthetic with built-in input")
    options = parser.parse_args()
    built_in = not (options.samples and options.kernel)
    options.out = options.out or Path("results", "synthetic" if built_in else "")
    check_writable(parser, options.out)
    out = convolve(options)
    # "create the output image of your function by using the provided part2Plots function"
    part2Plots(out, save_dir=str(options.out), filename="part2")
    print(f"output and figures: {options.out / 'part2'}*")


if __name__ == "__main__":
    ends.run(main)
