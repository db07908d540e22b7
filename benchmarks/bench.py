"""What part 3 costs on a CPU: the assignment's own way, ours, and what the machine could do.

    python benchmarks/bench.py                       # two to three minutes on two idle cores
    python benchmarks/bench.py --quick --threads 1   # a rough idea

A CPU with bfloat16 validates images again that are close (inference.py): --data-dir times that on
CIFAR-10, else the images are noise. Other work on the same cores spoils the numbers.
"""

import json
import os
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

# NumPy's BLAS (OpenBLAS, or Apple's) reads its thread count when NumPy is imported. Here only
# my_conv2d uses it; torch.set_num_threads sets that of torch.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["VECLIB_MAXIMUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package's modules

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import Compose, Grayscale, Normalize, ToTensor

import cli
import script
from data import Data, load, scale
from models import ARCHITECTURES
from part2_conv import my_conv2d
from part3_architectures import EPOCHS, LEARNING_RATE, plan
from training import RECORD_EVERY, Examples, accuracy, train

SECONDS, QUICK_SECONDS, AT_LEAST = 4.0, 0.3, 3  # how long and how often each thing is timed
NUM_TRAIN, NUM_VAL = 45_000, 5_000
NUM_POINTS = EPOCHS * NUM_TRAIN // cli.BATCH_SIZE // RECORD_EVERY  # 1,350 in a run of part 3
MATRIX_SIZE = 2048  # large enough for the full rate
# images (N, C, H, W) and kernels (O, C, h, w): the course's size, and a larger one
CONVOLUTIONS = [((5, 1, 28, 28), (8, 1, 4, 4)), ((64, 16, 32, 32), (32, 16, 3, 3))]
HEADER = """\
torch {torch}, {cpu}, {cores} cores, {threads} threads, {images}; medians over {seconds_each} s each

           ms per step     ms per validation      s per run of part 3                 GFLOP/s
      assigned    ours    assigned      ours    assigned  ours  ratio   product  convolutions"""
ROW = (
    "{name} {assigned[step_ms]:8.2f} {ours[step_ms]:7.2f} {assigned[validation_ms]:11.0f}"
    " {ours[validation_ms]:9.1f} {assigned[run_s]:11.0f} {ours[run_s]:5.0f} {ratio:5.1f}x"
    " {matrix_gflops:9.1f} {conv_gflops:7.1f} {conv_share:5.0%}"
)


def median_ms(call: Callable[[], object], seconds: float) -> float:
    """The median time of `call` over `seconds`, in milliseconds; its first call does not count."""
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
        self.data = np.random.randint(256, size=(num_images, 32, 32, 3), dtype=np.uint8)
        self.targets = np.random.randint(10, size=num_images).tolist()
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
    """The assignment's way to the validation accuracy, percent."""
    hits = 0
    model.eval()
    with torch.no_grad():
        for images, labels in loader:
            hits += (model(images).argmax(1) == labels).sum().item()
    model.train()
    return 100.0 * hits / len(loader.dataset)


def our_data(data_dir: Path | None) -> Data:
    """CIFAR-10, or noise in gray as data.load would hold it in memory."""
    if data_dir:
        return load("cifar10", data_dir, torch.device("cpu"))

    def noise(num_images: int) -> Examples:
        images = torch.randint(256, (num_images, 32, 32), dtype=torch.uint8)
        return Examples(scale(images), torch.randint(10, (num_images,)))

    return Data(noise(NUM_TRAIN), noise(NUM_VAL), noise(0), sha256="")


def time_assigned(name: str, seconds: float) -> dict[str, float]:
    """Time the yardstick: the default memory layout, ReLU not in place, Adam not fused."""
    train_loader = DataLoader(RandomImages(NUM_TRAIN), cli.BATCH_SIZE, shuffle=True, num_workers=0)
    val_loader = DataLoader(RandomImages(NUM_VAL), cli.BATCH_SIZE, shuffle=False, num_workers=0)
    model = ARCHITECTURES[name](nn.ReLU)
    points = assigned_train(model, train_loader)
    return cost(points, lambda: assigned_accuracy(model, val_loader), seconds)


def time_ours(name: str, data: Data, seconds: float) -> dict[str, float]:
    """Time what part 3 does, on data in memory."""
    options = Namespace(runs=1, seed=0, epochs=EPOCHS, batch_size=cli.BATCH_SIZE, dataset="")
    (run,) = plan(name, options)
    model, generator = run.start(data)
    optimizer = run.optimizer_for(model, LEARNING_RATE)
    points = train(model, optimizer, data.train, range(sys.maxsize), run.batch_size, generator)
    return cost(points, lambda: accuracy(model, data.val), seconds)


def cost(points: Iterator, validate: Callable[[], object], seconds: float) -> dict[str, float]:
    """What a step and a validation pass take, ms, and so a run of part 3, s."""
    point_ms, validation_ms = median_ms(lambda: next(points), seconds), median_ms(validate, seconds)
    run_s = NUM_POINTS * (point_ms + validation_ms) / 1000
    return {"step_ms": point_ms / RECORD_EVERY, "validation_ms": validation_ms, "run_s": run_s}


def matrix_gflops(seconds: float) -> float:
    """The rate of a float32 matrix product in torch, GFLOP/s."""
    a, b, out = (torch.randn(MATRIX_SIZE, MATRIX_SIZE) for _ in range(3))
    return 2e-6 * MATRIX_SIZE**3 / median_ms(lambda: torch.mm(a, b, out=out), seconds)


@torch.no_grad()
def conv_flops(name: str) -> int:
    """Multiplications and additions in the convolutions of a network, for one image."""
    out, flops = torch.zeros(1, 1, 32, 32), 0
    for layer in ARCHITECTURES[name](nn.ReLU):
        out = layer(out)
        if isinstance(layer, nn.Conv2d):  # one kernel (C, h, w) times one window for each output
            flops += 2 * out.numel() * layer.weight[0].numel()
    return flops


def time_convolution(image_shape: tuple, kernel_shape: tuple, seconds: float) -> dict:
    """Time my_conv2d and torch.conv2d on the same float32 arrays."""
    images, kernels = torch.randn(image_shape), torch.randn(kernel_shape)
    my_ms = median_ms(lambda: my_conv2d(images.numpy(), kernels.numpy()), seconds)
    torch_ms = median_ms(lambda: torch.conv2d(images, kernels), seconds)
    times = {"my_conv2d_ms": my_ms, "torch_ms": torch_ms, "ratio": my_ms / torch_ms}
    return {"images": image_shape, "kernels": kernel_shape} | times


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("--json", type=Path, help="write the numbers to this file, too")
    parser.add_argument("--threads", type=cli.positive, help="default: torch's own choice")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--data-dir", type=cli.folder, help="holds cifar10_gray.npz")
    options = parser.parse_args()
    data = our_data(options.data_dir)
    torch.set_num_threads(options.threads or torch.get_num_threads())
    seconds = QUICK_SECONDS if options.quick else SECONDS
    results = {
        "torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": cli.num_cores(), "threads": torch.get_num_threads(), "seconds_each": seconds,
        "images": "CIFAR-10" if options.data_dir else "noise", "architectures": {},
    }  # fmt: skip
    print(HEADER.format(**results), flush=True)
    # These come first: the memory that train() makes the process keep would serve them as well
    all_assigned = {name: time_assigned(name, seconds) for name in ARCHITECTURES}
    for name, assigned in all_assigned.items():
        ours = time_ours(name, data, seconds)
        rate = matrix_gflops(seconds)  # each time, as clocks and neighbours change
        conv_rate = conv_flops(name) * NUM_VAL / ours["validation_ms"] / 1e6
        results["architectures"][name] = row = {
            "assigned": assigned, "ours": ours, "ratio": assigned["run_s"] / ours["run_s"],
            "matrix_gflops": rate, "conv_gflops": conv_rate, "conv_share": conv_rate / rate,
        }  # fmt: skip
        print(ROW.format(name=name, **row), flush=True)
    print("\nms of my_conv2d, ms of torch.conv2d, ratio (float32, one thread)")
    torch.set_num_threads(1)
    results["convolutions"] = [time_convolution(*shapes, seconds) for shapes in CONVOLUTIONS]
    for row in results["convolutions"]:
        print("{images} * {kernels}: {my_conv2d_ms:.3f} {torch_ms:.3f} {ratio:.2f}x".format(**row))
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    script.run(main)
