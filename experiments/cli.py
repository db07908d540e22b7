"""The command lines of the part scripts: options, the device, and how a script ends."""

import argparse
import contextlib
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from experiments.storage import UserError, first_line, reason

import matplotlib
import torch

from data import DataError


class StillTraining(Exception):
    """Raised when other processes are still training; the last one to finish writes the results."""


CPU_SHARE = Path("/sys/fs/cgroup/cpu.max")  # of Linux


# ---- Options


# Options of a single script, named in the error if another script gets them
OPTIONS_OF_ONE = {
    "--samples": "part2_conv.py", "--kernel": "part2_conv.py",
    "--unscaled": "part4_activations.py", "--initialized": "part4_activations.py",
    "--drop-epochs": "part5_learning_rate.py",
}  # fmt: skip


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that shows a script's docstring and whose errors are one line."""

    def __init__(self, docstring: str | None):
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=docstring, formatter_class=formatter, allow_abbrev=False)

    def error(self, message: str):
        if message.startswith("unrecognized arguments"):
            words = message.replace("=", " ").split()
            for option in OPTIONS_OF_ONE.keys() & set(words):
                message += f"; {option} is an option of {OPTIONS_OF_ONE[option]}"
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


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


def add_data_options(parser: Parser) -> None:
    """Add the option that says where the images are."""
    parser.add_argument(
        "--data-dir",
        type=path,
        default=os.environ.get("CIFAR10_DIR") or "data",
        help="holds cifar10_gray.npz, or CIFAR-10 is downloaded there "
        "(default: $CIFAR10_DIR, else data)",
    )


def training_parser(
    docstring: str | None,
    *,
    runs: tuple[int, int],
    epochs: tuple[int, int],
    batch_size: int,
    architectures: Sequence[str],
) -> Parser:
    """Return a parser with the options that parts 3 to 5 have in common.

    runs, epochs: the defaults of the full and of the quick protocol. batch_size: the default.
    `parse_training_options` reads the command line with it.
    """
    parser = Parser(docstring)
    parser.set_defaults(full_and_quick={"runs": runs, "epochs": epochs})
    add = parser.add_argument
    add("--arch", choices=architectures, help="only this architecture")
    add(
        "--runs", type=positive,
        help="at least so many runs of each kind, which differ in their seed "
        f"(default: {runs[0]}; with --quick {runs[1]}); all that are recorded count",
    )  # fmt: skip
    add(
        "--epochs", type=positive, help=f"of a run (default: {epochs[0]}; with --quick {epochs[1]})"
    )
    add("--batch-size", type=positive, default=batch_size, help="of a step (default: %(default)s)")
    add("--seed", type=seed, default=0, help="of run 0; run r has seed + r (default: %(default)s)")
    add(
        "--dataset", choices=("cifar10", "synthetic"), default="cifar10",
        help="synthetic: ten drawn shapes, no file and no network needed (default: %(default)s)",
    )  # fmt: skip
    add_data_options(parser)
    add(
        "--out", type=path,
        help="where records, dictionaries and figures go (default: results, with --quick "
        "results/quick; for synthetic images results/synthetic-full, results/synthetic)",
    )  # fmt: skip
    add(
        "--device", type=device_name, default="auto", metavar="{auto,cpu,cuda,cuda:N,mps}",
        help="auto is CUDA where there is one, else the CPU (default: %(default)s)",
    )  # fmt: skip
    add(
        "--processes", type=positive,
        help="worker processes (default: one for each CPU core or GPU; one under torchrun)",
    )  # fmt: skip
    add("--threads", type=positive, help="CPU threads of each process (default: see the README)")
    add("--quick", action="store_true", help="a small protocol that takes seconds per network")
    add("--plot-only", action="store_true", help="make the figures from what is recorded")
    return parser


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
    _parse_launcher(parser, options)
    try:
        options.torch_device = select_device(options.device, options.local_rank)
    except ValueError as error:
        parser.error(f"argument --device: {error}")
    cores, processes = num_cores(), options.processes or 1
    if options.threads and options.threads > cores:
        parser.error(f"argument --threads: {options.threads}, but there are {cores} cores")
    if options.threads is None:
        # One thread each by default: the same bits on a machine with more cores. Threads of two
        # processes on the same core slow each other down many times.
        shared = options.processes or options.world_size > 1
        options.threads = max(1, cores // (options.local_world_size * processes)) if shared else 1
    check_writable(parser, options.out)
    return options


def _parse_launcher(parser: Parser, options: argparse.Namespace) -> None:
    """Read what torchrun sets: this process's number among all and among those of this machine."""
    least = {"RANK": 0, "WORLD_SIZE": 1, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1}  # and default
    for name, low in least.items():
        try:
            number = whole_number(low, 1_000_000)(os.environ.get(name, str(low)))
        except argparse.ArgumentTypeError as error:
            parser.error(f"environment variable {name}: {error}")
        setattr(options, name.lower(), number)
    if ("RANK" in os.environ) != ("WORLD_SIZE" in os.environ):
        parser.error(
            "environment variables RANK and WORLD_SIZE: one is set without the other; "
            "set both to share the runs, or unset both"
        )
    if options.rank >= options.world_size:
        parser.error(
            f"environment variable RANK: {options.rank} is not less than WORLD_SIZE, "
            f"{options.world_size}"
        )


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


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # a container's share, such as "200000 100000"
        quota, period = map(int, CPU_SHARE.read_text().split())
        cores = min(cores, max(1, quota // period))
    return cores


def label(name: str, options: argparse.Namespace) -> str:
    """Return `name` with a suffix for non-default settings, such as "cnn_3 (synthetic, quick)"."""
    kinds = ["synthetic"] * (options.dataset == "synthetic") + ["quick"] * options.quick
    kinds += [k for k in ("unscaled", "initialized") if getattr(options, k, False)]
    return f"{name} ({', '.join(kinds)})" if kinds else name


def print_figures(out: Path, *patterns: str) -> None:
    """Print the paths of the figures in `out` whose names match one of `patterns`."""
    paths = sorted(str(path) for pattern in patterns for path in out.glob(pattern))
    print("figures:", *paths, sep="\n  ")


# ---- The device


def select_device(name: str, local_rank: int = 0) -> torch.device:
    """Return the device called "auto", "cpu", "cuda", "cuda:N" or "mps", ready for use.

    "auto" is CUDA if there is one, else the CPU. The processes of one machine take its GPUs in
    turn: "auto" and "cuda" mean GPU `local_rank` modulo their number.

    Sets PyTorch's global flags for single precision and determinism. Raises ValueError if this
    machine does not have the device, or if it cannot be used.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = int(name[5:]) if ":" in name else local_rank % max(count, 1)
        if index >= count:
            raise ValueError(f"{name}: PyTorch sees {count} CUDA devices here; try --device auto")
        name = f"cuda:{index}"
    if name == "mps" and not torch.backends.mps.is_available():
        raise ValueError("mps: PyTorch sees no Apple GPU here; try --device auto")
    device = torch.device(name)
    if device.type != "cpu":
        try:
            (torch.zeros(1, device=device) + 1).item()
        except RuntimeError as error:  # too old for this PyTorch, busy, or full
            raise ValueError(
                f"{name}: cannot be used ({first_line(error)}); try --device cpu"
            ) from error
    # Single precision everywhere, and the same result every time
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return device


# ---- How a script ends


class Stopped(BaseException):
    """Raised by SIGINT (Ctrl-C) and SIGTERM."""


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into `Stopped`, and restore the handlers at the end."""
    before: dict = {}

    def stop(number, _):
        for other in before:
            signal.signal(other, signal.SIG_DFL)  # a second one ends the process at once
        sys.unraisablehook = lambda _: None  # objects half built now would complain in many lines
        raise Stopped(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and "&" in scripts set that
            before[number] = signal.signal(number, stop)
    hook = sys.unraisablehook
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)


# What PyTorch, a GPU's libraries or the operating system say about the machine, not about us
_MACHINE = re.compile(
    r"\b(CUDA error|CUBLAS|CUDNN|MPS backend|HIP error|NVML)|no kernel image", re.IGNORECASE
)
_MEMORY = re.compile(r"(allocate|out of) memory", re.IGNORECASE)
_THREADS = re.compile(r"can't start new thread|Resource temporarily unavailable", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether Python, PyTorch or a GPU's library lacks memory."""
    lacking = isinstance(error, RuntimeError) and _MEMORY.search(first_line(error))
    return isinstance(error, MemoryError) or bool(lacking)


def explain(error: BaseException) -> str | None:
    """Return one line for an error that the user can put right, or None for a fault of ours."""
    line = first_line(error)
    if isinstance(error, UserError | DataError):
        return str(error)
    if _THREADS.search(line):
        return f"no more threads or processes can be started ({line}); try --processes 1"
    if is_out_of_memory(error):
        return (
            f"not enough memory ({line or 'MemoryError'}); free some, or where the script has "
            "these options try fewer --processes, a smaller --batch-size, or --device cpu"
        )
    if isinstance(error, RuntimeError) and _MACHINE.search(line):
        return f"the GPU failed ({line}); repeat the command to continue, or try --device cpu"
    if isinstance(error, OSError):
        return f"{error.filename or 'file system'}: {reason(error)}"
    return None


def run(main: Callable[[], None]) -> None:
    """Run a script: expected errors and interrupts end it with a one-line message, no traceback.

    The exit status is 1 after errors, 130 after Ctrl-C, 143 after SIGTERM. Figures look the same
    whatever the user's matplotlibrc says.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before the script started
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):  # not in a notebook
        sys.stdout.reconfigure(errors="backslashreplace")  # a folder's name may be any bytes
    try:
        with _stoppable(), matplotlib.rc_context():
            matplotlib.rcdefaults()
            main()
        return
    except StillTraining as news:
        print(f"process {os.environ.get('RANK')}: its share is done; {news}")
        return
    except Stopped as stopped:
        print(end="\r", file=sys.stderr)  # over a progress bar that was just being drawn
        status = 128 + stopped.args[0]
        message = "stopped; what is finished is kept; repeat the command to continue"
    except Exception as error:
        status, explanation = 1, explain(error)
        if explanation is None:
            raise
        message = explanation
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(status)
