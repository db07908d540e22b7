"""Part 2: a convolutional layer's forward pass in NumPy, run on a small batch of digits.

Convolves the images with a bank of kernels, prints the largest difference from torch.conv2d, saves
the output (part2_out.npy), its picture (part2.png) and the names of its input (part2.json).

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

import cli
import script
from files import UserError, read_npy, write_atomically
from utils import part2Plots

WAY_OUT = "--samples and --kernel name .npy files; without them input is built in"


def my_conv2d(input: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What `torch.conv2d(input, kernel)` computes: cross-correlation, no padding, stride 1.

    input: (N, C, H, W), kernel: (O, C, h, w), of any numeric dtypes. Returns (N, O, H-h+1, W-w+1)
    of their common floating dtype; integers and booleans become float64, so that nothing wraps.
    Raises ValueError if the shapes do not fit together, TypeError if an array is not numeric.
    """
    input, kernel = np.asarray(input), np.asarray(kernel)
    given = f"input is {input.dtype} {input.shape}, kernel is {kernel.dtype} {kernel.shape}"
    if not all(np.issubdtype(a.dtype, np.number) or a.dtype == bool for a in (input, kernel)):
        raise TypeError(f"both arrays must hold numbers: {given}")
    if input.ndim != 4 or kernel.ndim != 4:
        raise ValueError(f"both arrays must have 4 dimensions: {given}")
    if input.size == 0 or kernel.size == 0:
        raise ValueError(f"neither array may be empty: {given}")
    if input.shape[1] != kernel.shape[1]:
        raise ValueError(f"both arrays must have as many channels (second dimension): {given}")
    if input.shape[2] < kernel.shape[2] or input.shape[3] < kernel.shape[3]:
        raise ValueError(f"the kernel must not be larger than the image: {given}")

    dtype = np.result_type(input, kernel)
    dtype = dtype if np.issubdtype(dtype, np.inexact) else np.dtype(np.float64)
    accumulator = np.promote_types(dtype, np.float32)  # half precision sums in single, as in torch
    input, kernel = input.astype(accumulator), kernel.astype(accumulator)

    # (N, C, H', W', h, w): at each output position the pixels under the kernel, not copied yet
    windows = sliding_window_view(input, kernel.shape[2:], axis=(2, 3))
    num_images, _, out_height, out_width, _, _ = windows.shape
    # (N, C*h*w, H'*W'): the copy that a matrix product needs, image rows innermost for speed
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(num_images, -1, out_height * out_width)
    out = kernel.reshape(len(kernel), -1) @ columns  # (O, C*h*w) @ (N, C*h*w, H'*W')
    out = out.reshape(num_images, len(kernel), out_height, out_width)
    with np.errstate(over="ignore"):  # half precision overflows to infinity, as in torch
        return out.astype(dtype, copy=False)


def draw_digits() -> np.ndarray:
    """The digits 0 to 4 in matplotlib's own font: (5, 1, 28, 28) uint8, white on black."""
    images = []
    for digit in range(5):
        figure = Figure(figsize=(1, 1), dpi=28, facecolor="black")
        canvas = FigureCanvasAgg(figure)
        figure.text(0.5, 0.46, str(digit), color="white", size=60, ha="center", va="center")
        canvas.draw()
        images.append(np.asarray(canvas.buffer_rgba())[None, :, :, 0])
    return np.stack(images)


def make_kernels() -> np.ndarray:
    """Eight kernels (8, 1, 4, 4) float64: four edges, a line each way, a blur, a sharpening."""
    x, y = np.meshgrid([-1.5, -0.5, 0.5, 1.5], [-1.5, -0.5, 0.5, 1.5])
    centre = (abs(x) < 1) & (abs(y) < 1)
    kernels = [
        np.sign(y), np.sign(x), np.sign(x + y), np.sign(x - y),  # edges
        np.where(abs(y) < 1, 1.0, -1.0), np.where(abs(x) < 1, 1.0, -1.0),  # lines
        np.full((4, 4), 1 / 16), np.where(centre, 1.0, -0.25),
    ]  # fmt: skip
    return np.stack(kernels)[:, None]


def convolve(options: Namespace) -> np.ndarray:
    """Convolve the images with the kernels that the options name, and compare with torch."""
    input = read_npy(options.samples, WAY_OUT) if options.samples else draw_digits()
    kernel = read_npy(options.kernel, WAY_OUT) if options.kernel else make_kernels()
    print(f"samples: {options.samples or 'built-in digits (--samples names a file)'}")
    print(f"kernel: {options.kernel or 'built-in kernels (--kernel names a file)'}")
    try:
        out = my_conv2d(input, kernel)
    except (TypeError, ValueError) as error:
        files = f"{options.samples or 'samples'}, {options.kernel or 'kernel'}"
        raise UserError(f"{files}: {error}") from error
    double = np.complex128 if np.iscomplexobj(out) else np.float64
    operands = (torch.from_numpy(array.astype(double)) for array in (input, kernel))
    difference = np.abs(out - torch.conv2d(*operands).numpy()).max()
    print(f"input {input.shape} * kernel {kernel.shape} -> out {out.shape} {out.dtype}")
    print(f"largest difference from torch.conv2d: {difference:.2g}")
    return out


def main() -> None:
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--samples", type=Path, help="images (N, C, H, W) as .npy (default: built-in digits)")
    add("--kernel", type=Path, help="kernels (O, C, h, w) as .npy (default: built-in kernels)")
    add("--out", type=cli.folder, help="default: results; results/synthetic with built-in input")
    add("--plot-only", action="store_true", help="draw the recorded output again")
    options = parser.parse_args()
    built_in = not (options.plot_only or (options.samples and options.kernel))
    save_dir = options.out or Path("results", "synthetic" if built_in else "")
    cli.check_writable(parser, save_dir)
    recorded = save_dir / "part2_out.npy"
    if options.plot_only:
        out = read_npy(recorded, "run it without --plot-only first")
        if out.ndim != 4 or out.size == 0:
            raise UserError(f"{recorded}: an array of shape {out.shape}, not images by kernels")
    else:
        out = convolve(options)
        write_atomically(recorded, lambda file: np.save(file, out))
        files = {name: path and path.name for name, path in
                 (("samples", options.samples), ("kernel", options.kernel))}  # fmt: skip
        text = json.dumps(files).encode()
        write_atomically(save_dir / "part2.json", lambda file: file.write(text))
    part2Plots(out.real, save_dir=str(save_dir), filename="part2")
    cli.print_figures(save_dir, "part2*.png")


if __name__ == "__main__":
    script.run(main)
