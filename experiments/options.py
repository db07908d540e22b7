"""The options of the part scripts."""

import argparse
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.device import num_cores, select_device
from experiments.storage import UserError, reason


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows a script's docstring and whose errors are one line."""

    def __init__(self, docstring: str | None):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=docstring, formatter_class=formatter, allow_abbrev=False)

    def error(self, message: str):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


class Options(argparse.Namespace):
    """What the command line says. These are the options that parts 3 to 5 have in common."""

    arch: list[str]
    runs: int
    epochs: int
    batch_size: int
    seed: int
    dataset: str
    data_dir: Path
    out: Path
    device: str
    processes: int | None
    threads: int
    quick: bool
    plot_only: bool

    # Of many processes that share the runs, as torchrun starts them
    rank: int
    world_size: int
    local_rank: int

    def settings(self) -> dict[str, Any]:
        """Return those that define a run, as keyword arguments of a script's `configure`."""
        names = ("epochs", "batch_size", "seed", "dataset", "quick")
        return {name: getattr(self, name) for name in names}


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Return a function that parses whole numbers from `low` to `high`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or len(text) > 10 or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


positive, seed = whole_number(1, 1_000_000), whole_number(0, 2**32 - 1)


def path(text: str) -> Path:
    """Parse the name of a file or folder, in which `~` is the home folder. It must not be empty."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not the name of a file or folder")
    return Path(os.path.expanduser(text))  # an unknown ~name stays as it is, as in a shell


def device_name(text: str) -> str:
    """Parse auto, cpu, cuda, cuda:N or mps."""
    if not re.fullmatch("auto|cpu|cuda|cuda:[0-9]+|mps", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not auto, cpu, cuda, cuda:N or mps")
    return text


def add_data_dir(parser: Parser) -> None:
    """Add the option that says where the images are."""
    parser.add_argument(
        "--data-dir", type=path, default=os.environ.get("CIFAR10_DIR") or "data",
        help="holds cifar10_gray.npz, or CIFAR-10 is downloaded there "
        "(default: $CIFAR10_DIR, else data)",
    )  # fmt: skip


def training_parser(
    docstring: str | None,
    *,
    arch: Sequence[str],
    choices: Sequence[str],
    runs: tuple[int, int],
    epochs: tuple[int, int],
    batch_size: int,
) -> Parser:
    """Return a parser with the options that parts 3 to 5 have in common. `parse` reads them.

    arch: the default architectures, of `choices`. runs, epochs: the defaults of the full and of the
    quick protocol. batch_size: the default.
    """
    parser = Parser(docstring)
    # The defaults of an option, without and with a flag
    by_flag = {
        "runs": ("quick", runs), "epochs": ("quick", epochs), "arch": ("plot_only", (arch, choices))
    }  # fmt: skip
    parser.set_defaults(by_flag=by_flag)
    add = parser.add_argument
    # fmt: off
    add("--arch", nargs="+", choices=choices, metavar="NAME",
        help=f"of {', '.join(choices)} (default: {' '.join(arch)})")
    add("--runs", type=positive,
        help=f"runs of each kind, with their own seeds (default: {runs[0]}; quick: {runs[1]})")
    add("--epochs", type=positive, help=f"of a run (default: {epochs[0]}; quick: {epochs[1]})")
    add("--batch-size", type=positive, default=batch_size, help="default: %(default)s")
    add("--seed", type=seed, default=0, help="of run 0; run r has seed + r (default: %(default)s)")
    add("--dataset", choices=("cifar10", "synthetic"), default="cifar10",
        help="synthetic: ten drawn shapes, no download needed (default: %(default)s)")
    add_data_dir(parser)
    add("--out", type=path,
        help="where records, dictionaries and figures go (default: results, with --quick "
        "results/quick; synthetic: results/synthetic-full, results/synthetic)")
    add("--device", type=device_name, default="auto", metavar="{auto,cpu,cuda,cuda:N,mps}",
        help="auto is CUDA where there is one, else the CPU (default: %(default)s)")
    add("--processes", type=positive, help="worker processes (default: one for each core or GPU)")
    add("--threads", type=positive, default=1, help="of each process (default: %(default)s)")
    add("--quick", action="store_true", help="a small protocol that takes seconds for a network")
    add("--plot-only", action="store_true", help="make the figures from what is recorded")
    # fmt: on
    return parser


def parse(parser: Parser, arguments: Sequence[str] | None = None) -> Options:
    """Read the command line and check it.

    Ends the process with status 2 and one line if a value is bad.
    """
    options = parser.parse_args(arguments, Options())
    for name, (flag, defaults) in options.by_flag.items():
        value = getattr(options, name) or defaults[getattr(options, flag)]
        setattr(options, name, value)
    options.out = options.out or default_out(options.dataset, options.quick)
    options.arch = list(dict.fromkeys(options.arch))
    _read_launcher(parser, options)
    if options.threads > num_cores():
        parser.error(f"argument --threads: {options.threads}, but there are {num_cores()} cores")
    try:
        select_device(options.device, options.local_rank)
    except UserError as error:
        parser.error(f"argument {error}")
    check_writable(parser, options.out)
    return options


def _read_launcher(parser: Parser, options: Options) -> None:
    """Read what torchrun sets: this process's number, of how many, and on this machine."""
    for name, default in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)):
        try:
            setattr(options, name.lower(), int(os.environ.get(name, default)))
        except ValueError as error:
            parser.error(f"environment variable {name}: {error}")
    both = ("RANK" in os.environ) == ("WORLD_SIZE" in os.environ)
    if not both or not 0 <= options.rank < options.world_size:
        parser.error("environment variables RANK and WORLD_SIZE: set both, or unset both; "
                     "0 <= RANK < WORLD_SIZE is needed")  # fmt: skip


def default_out(dataset: str, quick: bool) -> Path:
    """Return the default folder: quick and synthetic results are not mistaken for full ones."""
    if dataset == "cifar10":
        return Path("results", "quick") if quick else Path("results")
    return Path("results", "synthetic" if quick else "synthetic-full")


def check_writable(parser: Parser, out: Path) -> None:
    """End the process with status 2 and one line unless files can be written to `out`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        parser.error(f"argument --out: {out} cannot be written to ({reason(error)})")
