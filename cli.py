"""What the command lines of the scripts have in common: options, devices, folders."""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from training import select_device

BATCH_SIZE = 50  # "use batch size of 50 samples"


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows a script's docstring and whose errors are one line."""

    def __init__(self, docstring: str):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=docstring, formatter_class=formatter, allow_abbrev=False)

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def positive(text: str) -> int:
    """An option's value from 1 to a million."""
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return int(text)


def folder(text: str) -> Path:
    """An option's value that is not empty, as an unset variable of a shell would make it."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not a folder")
    return Path(text)


def seed(text: str) -> int:
    """An option's value from 0 to 2**32 - 1."""
    if not text.isdecimal() or not int(text) < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 4294967295")
    return int(text)


def training_parser(
    docstring: str,
    *,
    runs: tuple[int, int],
    epochs: tuple[int, int],
    architectures: Sequence[str],
) -> Parser:
    """The options of parts 3 to 5; a part may add its own. `parse_training_options` reads them.

    `runs` and `epochs` are the defaults of the full and of the quick protocol.
    """
    parser = Parser(docstring)
    parser.set_defaults(full_and_quick={"runs": runs, "epochs": epochs})
    add = parser.add_argument
    add("--arch", choices=architectures, help="only this architecture")
    add(
        "--runs",
        type=positive,
        help="repetitions, which differ in their seed and are averaged "
        f"(default: {runs[0]}; with --quick {runs[1]})",
    )
    add("--epochs", type=positive, help=f"default: {epochs[0]}; with --quick {epochs[1]}")
    add("--batch-size", type=positive, default=BATCH_SIZE, help="default: %(default)s")
    add("--seed", type=seed, default=0, help="of run 0; run r has seed + r (default: %(default)s)")
    add(
        "--dataset",
        choices=("cifar10", "synthetic"),
        default="cifar10",
        help="synthetic: ten drawn shapes, no file and no network needed (default: %(default)s)",
    )
    add(
        "--data-dir",
        type=folder,
        default=Path(os.environ.get("CIFAR10_DIR") or "data"),
        help="holds cifar10_gray.npz, or CIFAR-10 is downloaded there "
        "(default: $CIFAR10_DIR, else data)",
    )
    add(
        "--out",
        type=folder,
        help="where records, dictionaries and figures go (default: results, with "
        "--quick results/quick; of synthetic images results/synthetic-full, results/synthetic)",
    )
    add(
        "--device",
        type=device,
        default="auto",
        metavar="{auto,cpu,cuda,cuda:N,mps}",
        help="auto is CUDA where there is one, else the CPU (default: %(default)s)",
    )
    add(
        "--threads",
        type=positive,
        help="CPU threads of this process (default: all cores, or this "
        "process's share of them under torchrun)",
    )
    add("--quick", action="store_true", help="a small protocol that takes seconds per network")
    add("--plot-only", action="store_true", help="make the figures from what is recorded")
    return parser


def device(text: str) -> str:
    """An option's value: auto, cpu, cuda, cuda:N or mps."""
    kind, colon, index = text.partition(":")
    if text not in ("auto", "cpu", "cuda", "mps") and not (
        kind == "cuda" and colon and index.isdecimal()
    ):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda, cuda:N or mps")
    return text


def parse_training_options(
    parser: Parser, arguments: Sequence[str] | None = None
) -> argparse.Namespace:
    """Read the command line, choose the device, the share and the folder, and check them.

    Ends the process with status 2 and one line if a value is bad.
    """
    options = parser.parse_args(arguments)
    for name, defaults in options.full_and_quick.items():
        setattr(options, name, getattr(options, name) or defaults[options.quick])
    options.out = options.out or default_out(options.dataset, options.quick)
    try:
        options.rank, options.world_size, local_rank, local_world_size = (
            int(os.environ.get(name, default))
            for name, default in (
                ("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0), ("LOCAL_WORLD_SIZE", 1),
            )
        )  # fmt: skip
    except ValueError as error:
        parser.error(f"torchrun sets RANK, WORLD_SIZE and their like to numbers: {error}")
    if not 0 <= options.rank < options.world_size:
        parser.error(f"RANK is {options.rank}, not from 0 to WORLD_SIZE - 1")
    try:
        options.device = select_device(options.device, local_rank)
    except ValueError as error:
        parser.error(f"argument --device: {error}")
    if options.device.type == "cuda":  # single precision, and the same result every time
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    # Threads of two processes on the same core slow each other down many times. torchrun sets
    # OMP_NUM_THREADS to 1, which would leave cores idle.
    if options.threads and options.threads > num_cores():
        parser.error(f"argument --threads: {options.threads}, but there are {num_cores()} cores")
    if options.threads is None and local_world_size > 1:
        options.threads = max(1, num_cores() // local_world_size)
    if options.threads:
        torch.set_num_threads(options.threads)
    check_writable(parser, options.out)
    return options


def default_out(dataset: str, quick: bool = False) -> Path:
    """A folder for each kind of results, so that nothing small passes for the real thing."""
    if dataset == "cifar10":
        return Path("results", "quick") if quick else Path("results")
    return Path("results", "synthetic" if quick else "synthetic-full")


def check_writable(parser: Parser, out: Path) -> None:
    """End the process with status 2 and one line unless files can be written to `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        parser.error(f"argument --out: {out} cannot be written to ({error.strerror or error})")


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def print_figures(out: Path, pattern: str) -> None:
    """Tell where the figures are."""
    print("figures:", *sorted(map(str, out.glob(pattern))), sep="\n  ")
