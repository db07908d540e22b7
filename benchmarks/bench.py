"""What a run of part 3 costs on a CPU: the assignment's own loop, ours alone, ours in workers.

    python -m benchmarks.bench            # about ten minutes on two idle cores
    python -m benchmarks.bench --quick    # a rough idea

A point of the curves is timed: 10 training steps and a validation pass over 5,000 images, on
noise, which costs as much as CIFAR-10. A run has 1,350 of them. The three ways take turns, so that
whatever else the machine does meets all of them. A turn counts by the median of its points, and a
time is the lower quartile of the turns. The spread says how much higher the upper quartile is, in
percent.
"""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Grayscale, Normalize, ToTensor

from data import Data, Examples, scale
from experiments import ends
from experiments.device import num_cores
from experiments.options import Parser
from experiments.runner import keep_freed_memory
from models import ARCHITECTURES
from part2_conv import my_conv2d
from part3_architectures import BATCH_SIZE, EPOCHS, RECORD_EVERY, configure, train_run

TURNS, SECONDS = 6, 2.0  # how many turns each way has, and how long one is
NUM_TRAIN, NUM_VAL = 45_000, 5_000
NUM_POINTS = EPOCHS * NUM_TRAIN // BATCH_SIZE // RECORD_EVERY  # 1,350 in a run of part 3
# images (N, C, H, W) and kernels (O, C, h, w): the course's size, and a larger one
CONVOLUTIONS = [((5, 1, 28, 28), (8, 1, 4, 4)), ((64, 16, 32, 32), (32, 16, 3, 3))]
QUIET = 0.15  # the largest spread, and share of busy cores before the start, of a quiet machine


class Enough(Exception):
    """Raised to end a turn."""


class RandomImages(Dataset):
    """Noise in color, one image at a time as torchvision.datasets.CIFAR10 gives them."""

    def __init__(self, num_images: int):
        generator = np.random.default_rng(0)
        self.data = generator.integers(256, size=(num_images, 32, 32, 3), dtype=np.uint8)
        self.targets = generator.integers(10, size=num_images).tolist()
        self.transform = Compose([ToTensor(), Normalize((0.5,) * 3, (0.5,) * 3), Grayscale()])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.data[index])), self.targets[index]


def train_as_assigned(name: str, advance: Callable[[int], None]) -> None:
    """Train the assignment's way, without end: DataLoader, default layout, nothing in place."""
    train_loader = DataLoader(RandomImages(NUM_TRAIN), BATCH_SIZE, shuffle=True)
    val_loader = DataLoader(RandomImages(NUM_VAL), BATCH_SIZE, shuffle=False)
    model = ARCHITECTURES[name](nn.ReLU)
    loss_function, optimizer = nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters())
    while True:
        for step, (images, labels) in enumerate(train_loader, start=1):
            optimizer.zero_grad()
            logits = model(images)
            loss = loss_function(logits, labels)
            loss.backward()
            optimizer.step()
            if step % RECORD_EVERY == 0:
                loss.item(), (logits.argmax(1) == labels).float().mean().item()
                hits = 0
                model.eval()
                with torch.no_grad():
                    for val_images, val_labels in val_loader:
                        hits += (model(val_images).argmax(1) == val_labels).sum().item()
                model.train()
                advance(step)


def train_as_we_do(name: str, advance: Callable[[int], None]) -> None:
    """Train with part 3's own function."""

    def noise(num_images: int) -> Examples:
        images = torch.randint(256, (num_images, 32, 32), dtype=torch.uint8)
        return Examples(scale(images), torch.randint(10, (num_images,)))

    val = noise(NUM_VAL)
    train_run(configure(name), Data(noise(NUM_TRAIN), val, val, ""), advance)


def turn(train: Callable, name: str, seconds: float, threads: int) -> list[float]:
    """Return the times of the points that `train` reaches within `seconds`, in ms.

    The first point is not counted, and neither is what comes before it.
    """
    torch.set_num_threads(threads)
    keep_freed_memory()
    times: list[float] = []

    def advance(_: int) -> None:
        times.append(time.perf_counter())
        if len(times) > 2 and times[-1] - times[0] > seconds:
            raise Enough

    _start["together"].wait()
    with contextlib.suppress(Enough):
        train(name, advance)
    return (1000 * np.diff(times)).tolist()


_start: dict = {}  # in a process that times: the barrier that all of its kind pass together


def _prepare(barrier) -> None:
    _start["together"] = barrier


@contextlib.contextmanager
def processes(number: int) -> Iterator[Callable[..., list]]:
    """Start `number` processes. Yields a function that calls another in all of them at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(number, context, _prepare, (context.Barrier(number),)) as pool:

        def call(function: Callable, *arguments) -> list:
            futures = [pool.submit(function, *arguments) for _ in range(number)]
            return [value for future in futures for value in future.result()]

        yield call


def quartile(times: list[float]) -> tuple[float, float]:
    """Return the lower quartile, and by what share of it the upper one is above it."""
    low, high = np.quantile(times, [0.25, 0.75])
    return float(low), float(high / low - 1)


def time_architecture(name: str, turns: int, seconds: float) -> list[tuple[float, float]]:
    """Time a point of the assigned loop, of ours alone and of ours in workers. See `quartile`."""
    cores = num_cores()
    with processes(1) as assigned, processes(1) as alone, processes(cores) as workers:
        ways = [  # the assigned loop needs longer for a point
            (assigned, (train_as_assigned, name, 2 * seconds, cores)),
            (alone, (train_as_we_do, name, seconds, cores)),
            (workers, (train_as_we_do, name, seconds, 1)),
        ]
        times: list[list[float]] = [[] for _ in ways]
        for _ in range(turns):
            for of_way, (call, arguments) in zip(times, ways, strict=True):
                of_way.append(float(np.median(call(turn, *arguments))))
    found = [quartile(of_way) for of_way in times]
    found[2] = (found[2][0] / cores, found[2][1])  # so many runs at the same time
    return found


def time_convolutions(turns: int) -> list:
    """Time my_conv2d and torch.conv2d in turns, with one thread on float32 arrays, in ms."""
    torch.set_num_threads(1)
    rows = []
    for shapes in CONVOLUTIONS:
        images, kernels = (torch.randn(shape) for shape in shapes)
        calls = (lambda i=images, k=kernels: my_conv2d(i.numpy(), k.numpy()),
                 lambda i=images, k=kernels: torch.conv2d(i, k))  # fmt: skip
        times: list[list[float]] = [[], []]
        for _ in range(20 * turns):
            for found, call in zip(times, calls, strict=True):
                start = time.perf_counter()
                call()
                found.append(1000 * (time.perf_counter() - start))
        rows.append((shapes, [quartile(of_call[2:]) for of_call in times]))
    return rows


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer turns")
    options = parser.parse_args()
    turns, seconds = (2, 0.5) if options.quick else (TURNS, SECONDS)
    busy, spreads = psutil.cpu_percent(interval=1) / 100, []
    cpu, cores = torch.backends.cpu.get_cpu_capability(), num_cores()
    print(f"torch {torch.__version__}, {cpu}, {cores} cores; a point in ms, its spread in %, a run "
          "in s, how many times as fast as the assigned loop\n\n"
          "             assigned loop      one process, all threads     a worker on each core",
          flush=True)  # fmt: skip
    for name in ARCHITECTURES:
        found = time_architecture(name, turns, seconds)
        print(name, *(
            f"{point:9.1f} {100 * spread:3.0f} % {NUM_POINTS * point / 1000:5.0f} s"
            + (f" {found[0][0] / point:6.1f}x" if k else "")
            for k, (point, spread) in enumerate(found)
        ), flush=True)  # fmt: skip
        spreads += [spread for _, spread in found]
    print("\nms of my_conv2d, ms of torch.conv2d, ratio (float32, one thread)")
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["VECLIB_MAXIMUM_THREADS"] = "1"  # of NumPy
    with processes(1) as call:
        for (images, kernels), ((mine, _), (theirs, _)) in call(time_convolutions, turns):
            print(f"{images} * {kernels}: {mine:.3f} {theirs:.3f} {mine / theirs:.2f}x")
    if busy > QUIET or max(spreads) > QUIET:
        print(f"\nNOT QUIET: {100 * busy:.0f} % of the machine was busy before the start, and "
              f"times spread by up to {100 * max(spreads):.0f} %; do not cite it")  # fmt: skip


if __name__ == "__main__":
    ends.run(main)
