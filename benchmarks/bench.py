"""What a run of part 3 costs on a CPU: the assignment's own loop, ours alone, ours in workers.

    python -m benchmarks.bench            # about four minutes on two idle cores
    python -m benchmarks.bench --quick    # a rough idea

Steps and validation passes are timed on noise, which costs as much as CIFAR-10. A run is 13,500
steps and 1,350 validation passes. Other work on the same cores spoils the numbers.
"""

import multiprocessing
import os
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

from experiments import cli
from experiments.runner import keep_freed_memory
from experiments.training import evaluate, new_model, new_optimizer, train

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Grayscale, Normalize, ToTensor

from data import BatchLoader, Examples, scale
from models import ARCHITECTURES
from part2_conv import my_conv2d
from part3_architectures import BATCH_SIZE, EPOCHS, LEARNING_RATE, RECORD_EVERY, configure

SECONDS, QUICK_SECONDS, AT_LEAST = 6.0, 0.3, 3  # how long and how often each thing is timed
NUM_TRAIN, NUM_VAL = 45_000, 5_000
NUM_POINTS = EPOCHS * NUM_TRAIN // BATCH_SIZE // RECORD_EVERY  # 1,350 in a run of part 3
# images (N, C, H, W) and kernels (O, C, h, w): the course's size, and a larger one
CONVOLUTIONS = [((5, 1, 28, 28), (8, 1, 4, 4)), ((64, 16, 32, 32), (32, 16, 3, 3))]
HEADER = """\
torch {torch}, {cpu}, {cores} cores; medians over {seconds_each} s

            assigned loop        one process, all threads        a worker on each core
         step, val. pass, run     step, val. pass, run, ratio     step, val. pass, run, ratio
           ms         ms    s       ms         ms    s              ms         ms    s"""


def median_ms(call: Callable[[], object], seconds: float) -> float:
    """Return the median time of `call` over `seconds`, in ms; its first call does not count."""
    call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < AT_LEAST:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


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


def assigned_train(model: nn.Module, loader: DataLoader) -> Iterator[tuple[float, float]]:
    """Train the assignment's way and yield loss and accuracy at every 10th step, without end."""
    loss_function = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters())
    while True:
        for step, (images, labels) in enumerate(loader, start=1):
            optimizer.zero_grad()
            logits = model(images)
            loss = loss_function(logits, labels)
            loss.backward()
            optimizer.step()
            if step % RECORD_EVERY == 0:
                yield loss.item(), 100.0 * (logits.argmax(1) == labels).float().mean().item()


def assigned_accuracy(model: nn.Module, loader: DataLoader) -> float:
    """Return the validation accuracy the assignment's way, percent."""
    hits = 0
    model.eval()
    with torch.no_grad():
        for images, labels in loader:
            hits += (model(images).argmax(1) == labels).sum().item()
    model.train()
    return 100.0 * hits / NUM_VAL


def time_assigned(name: str, seconds: float) -> dict[str, float]:
    """Time the yardstick: the default memory layout, ReLU not in place, Adam not fused."""
    train_loader = DataLoader(RandomImages(NUM_TRAIN), BATCH_SIZE, shuffle=True)
    val_loader = DataLoader(RandomImages(NUM_VAL), BATCH_SIZE, shuffle=False)
    model = ARCHITECTURES[name](nn.ReLU)
    points = assigned_train(model, train_loader)
    return cost(points, lambda: assigned_accuracy(model, val_loader), seconds)


def time_ours(name: str, seconds: float, threads: int) -> dict[str, float]:
    """Time what part 3 does with so many threads, when all processes of this kind are ready."""
    torch.set_num_threads(threads)
    keep_freed_memory()

    def noise(num_images: int) -> Examples:
        images = torch.randint(256, (num_images, 32, 32), dtype=torch.uint8)
        return Examples(scale(images), torch.randint(10, (num_images,)))

    options = Namespace(seed=0, epochs=EPOCHS, batch_size=BATCH_SIZE, dataset="synthetic")
    config, val = configure(name, options), noise(NUM_VAL)
    model = new_model(config, torch.device("cpu"))
    optimizer = new_optimizer(config, model, LEARNING_RATE)
    train_generator = BatchLoader(noise(NUM_TRAIN), config.batch_size, seed=config.seed)
    points = train(model, optimizer, train_generator, range(sys.maxsize), RECORD_EVERY)
    _start["together"].wait()
    return cost(points, lambda: evaluate(model, val), seconds)


def cost(points: Iterator, validate: Callable[[], object], seconds: float) -> dict[str, float]:
    """Time a step and a validation pass in ms, and return with them what a run takes, in s."""
    point_ms, validation_ms = median_ms(lambda: next(points), seconds), median_ms(validate, seconds)
    run_s = NUM_POINTS * (point_ms + validation_ms) / 1000
    return {"step_ms": point_ms / RECORD_EVERY, "validation_ms": validation_ms, "run_s": run_s}


_start: dict = {}  # in a process that times: the barrier that all of them pass together


def _prepare(barrier) -> None:
    _start["together"] = barrier


def in_processes(number: int, function: Callable, *arguments) -> list:
    """Call `function` in so many new processes at the same time and return what they return."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(number, context, _prepare, (context.Barrier(number),)) as pool:
        futures = [pool.submit(function, *arguments) for _ in range(number)]
        return [future.result() for future in futures]


def time_convolution(image_shape: tuple, kernel_shape: tuple, seconds: float) -> dict:
    """Time my_conv2d and torch.conv2d on the same float32 arrays."""
    images, kernels = torch.randn(image_shape), torch.randn(kernel_shape)
    my_ms = median_ms(lambda: my_conv2d(images.numpy(), kernels.numpy()), seconds)
    torch_ms = median_ms(lambda: torch.conv2d(images, kernels), seconds)
    times = {"my_conv2d_ms": my_ms, "torch_ms": torch_ms, "ratio": my_ms / torch_ms}
    return {"images": image_shape, "kernels": kernel_shape} | times


def convolutions(seconds: float) -> list[dict]:
    """Time the convolutions with one thread."""
    torch.set_num_threads(1)
    return [time_convolution(*shapes, seconds) for shapes in CONVOLUTIONS]


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    options = parser.parse_args()
    seconds, cores = QUICK_SECONDS if options.quick else SECONDS, cli.num_cores()
    cpu, version = torch.backends.cpu.get_cpu_capability(), torch.__version__
    print(HEADER.format(torch=version, cpu=cpu, cores=cores, seconds_each=seconds), flush=True)
    for name in ARCHITECTURES:
        (assigned,) = in_processes(1, time_assigned, name, seconds)
        (alone,) = in_processes(1, time_ours, name, seconds, cores)
        workers = in_processes(cores, time_ours, name, seconds, 1)
        slowest = max(workers, key=lambda times: times["run_s"])
        slowest["run_s"] /= cores  # so many runs at the same time
        row = {"assigned": assigned, "alone": alone, "workers": slowest}
        for kind in ("alone", "workers"):
            row[kind]["ratio"] = row["assigned"]["run_s"] / row[kind]["run_s"]
        print(name, *(
            f"{times['step_ms']:10.2f} {times['validation_ms']:9.1f} {times['run_s']:5.0f}"
            + (f" {times['ratio']:6.1f}x" if "ratio" in times else "")
            for times in row.values()
        ), flush=True)  # fmt: skip
    print("\nms of my_conv2d, ms of torch.conv2d, ratio (float32, one thread)")
    os.environ["OPENBLAS_NUM_THREADS"] = os.environ["VECLIB_MAXIMUM_THREADS"] = "1"  # of NumPy
    (rows,) = in_processes(1, convolutions, seconds)
    for row in rows:
        print("{images} * {kernels}: {my_conv2d_ms:.3f} {torch_ms:.3f} {ratio:.2f}x".format(**row))


if __name__ == "__main__":
    cli.run(main)
