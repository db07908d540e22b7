"""How a script ends: one line instead of a traceback for what the user can put right."""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib

from data import DataError
from experiments.storage import UserError, first_line, reason


class Stopped(BaseException):
    """Raised by SIGINT (Ctrl-C) and SIGTERM."""


def stop(number: int) -> None:
    """Raise `Stopped` for a signal."""
    raise Stopped(number)


def run(main: Callable[[], None]) -> None:
    """Run a script. Errors that the user can put right and signals end it with one line.

    The exit status is 1 after errors, 130 after Ctrl-C, 143 after SIGTERM. Figures look the same
    whatever the user's matplotlibrc says, and no window is opened.
    """
    stdout, stderr = _Stream(sys.stdout), _Stream(sys.stderr)
    try:
        with (
            contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr),
            on_stop(stop), matplotlib.rc_context(),
        ):  # fmt: skip
            matplotlib.rcdefaults()
            if "ipykernel" not in sys.modules:  # a notebook shows its figures itself
                matplotlib.use("Agg")
            main()
        return
    except Stopped as stopped:
        status = 128 + stopped.args[0]
        message = "stopped; what is finished is kept; repeat the command to continue"
    except Exception as error:
        status, explanation = 1, explain(error)
        if explanation is None:
            raise
        message = explanation
    print(f"{Path(sys.argv[0]).name}: {message}", file=stderr)
    sys.exit(status)


class _Stream:
    """A stream that drops its text once writing fails: a closed terminal, a full disk."""

    def __init__(self, stream: Any):
        self.stream = stream or open(os.devnull, "w")  # noqa: SIM115  closed before the start
        if hasattr(self.stream, "reconfigure"):  # a folder's name may be any bytes
            self.stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        try:
            self.stream.write(text)
            self.stream.flush()
        except (OSError, ValueError):  # ValueError: it is closed, or has no file descriptor
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())  # also for what it still holds
        return len(text)

    def flush(self) -> None:
        """Do nothing: `write` leaves nothing to be written."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def on_stop(call: Callable[[int], None]) -> Iterator[None]:
    """Have the first SIGINT or SIGTERM call a function. The handlers are restored at the end."""
    before: dict = {}

    def handle(number, _):
        for other in before:
            signal.signal(other, signal.SIG_DFL)  # a second one ends the process at once
        call(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and "&" in scripts set that
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# What PyTorch, a GPU's libraries or the operating system say about the machine, not about us
_GPU = re.compile(r"\b(CUDA error|CUBLAS|CUDNN|MPS backend|HIP error|NVML)|no kernel image", re.I)
_MEMORY = re.compile(r"(allocate|out of) memory", re.I)
_THREADS = re.compile(r"can't start new thread|Resource temporarily unavailable", re.I)


def explain(error: BaseException) -> str | None:
    """Return one line for an error that the user can put right, or None for a fault of ours."""
    line = first_line(error)
    if isinstance(error, UserError | DataError):
        return str(error)
    if _THREADS.search(line):
        return f"no more threads or processes can be started ({line}); try --processes 1"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _MEMORY.search(line)):
        return (
            f"not enough memory ({line or 'MemoryError'}); free some, or try fewer --processes, "
            "a smaller --batch-size, or --device cpu"
        )
    if isinstance(error, RuntimeError) and _GPU.search(line):
        return f"the GPU failed ({line}); repeat the command to continue, or try --device cpu"
    if isinstance(error, OSError):
        return f"{error.filename or 'file system'}: {reason(error)}"
    return None
