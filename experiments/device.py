"""The device that a script trains on, and how many processes the machine can take."""

import contextlib
import math
from pathlib import Path

import joblib
import psutil
import torch

from experiments.storage import UserError, first_line

WORKER_BYTES = 1_500_000_000  # memory of a worker: PyTorch, the images, a CNN's feature maps


def select_device(name: str, number: int = 0) -> torch.device:
    """Return the device called "auto", "cpu", "cuda", "cuda:N" or "mps", ready for use.

    "auto" is CUDA if there is one, else the CPU. Processes take the GPUs in turn: for the one with
    `number`, "auto" and "cuda" mean GPU `number` modulo the number of GPUs.

    Sets PyTorch's global flags for single precision and determinism. Raises UserError if this
    machine does not have the device, or if it cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(name[5:]) if ":" in name else number % max(count, 1)
        if index >= count:
            raise UserError(
                f"--device {name}: PyTorch sees {count} CUDA devices here; try --device auto"
            )
        name = f"cuda:{index}"
    if name == "mps" and not torch.backends.mps.is_available():
        raise UserError("--device mps: PyTorch sees no Apple GPU here; try --device auto")
    device = torch.device(name)
    try:
        (torch.zeros(1, device=device) + 1).item()
    except RuntimeError as error:  # too old for this PyTorch, busy, or full
        raise UserError(
            f"--device {name}: cannot be used ({first_line(error)}); try --device cpu"
        ) from error
    # Single precision everywhere, and the same result every time
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return device


def num_cores() -> int:
    """Return the number of cores that this process may use, within a container's limits."""
    return joblib.cpu_count()


def num_workers(device_name: str, threads: int) -> int:
    """Return how many processes train at a time.

    There is one for each GPU, or for each `threads` cores, unless memory is short.
    """
    device = select_device(device_name)
    if device.type == "cpu":
        most = min(num_cores() // threads, int(_memory() // WORKER_BYTES))
    else:
        most = torch.cuda.device_count() if device_name in ("auto", "cuda") else 1
    return max(1, most)


def _memory() -> float:
    """Return the memory that is available to this process, in bytes."""
    limit = math.inf
    for name in ("memory.max", "memory/memory.limit_in_bytes"):  # control groups, versions 2 and 1
        with contextlib.suppress(OSError, ValueError):  # other systems, and "max"
            limit = min(limit, int(Path("/sys/fs/cgroup", name).read_text()))
    return min(psutil.virtual_memory().available, limit)
