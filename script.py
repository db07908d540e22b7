"""How a script ends: what its user can put right, or asked for, is one line and no traceback."""

import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from averages import StillTraining
from files import UserError


class Stopped(BaseException):
    """SIGINT (Ctrl-C) or SIGTERM has come."""


def _stop(number, frame):
    _handle_signals(signal.SIG_DFL)  # a second one ends the process at once
    sys.unraisablehook = lambda _: None  # objects half built now would complain in many lines
    raise Stopped(number)


def _handle_signals(handler) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup and "&" in scripts set that
            signal.signal(number, handler)


def run(main: Callable[[], None]) -> None:
    """Call `main` as a script: what the user can put right is one line, not a traceback.

    Exit status 1 for errors, 130 after Ctrl-C, 143 after SIGTERM.
    """
    _handle_signals(_stop)
    sys.stdout.reconfigure(errors="backslashreplace")  # the name of a folder may be any bytes
    try:
        main()
    except StillTraining as news:
        print(f"process {os.environ.get('RANK')}: its share is done; {news}")
        return
    except UserError as error:
        status, message = 1, str(error)
    except OSError as error:
        status, message = 1, f"{error.filename or 'file system'}: {error.strerror or error}"
    except (MemoryError, RuntimeError) as error:  # torch raises the latter
        reason = str(error).partition("\n")[0]
        if isinstance(error, RuntimeError) and not re.search("(allocate|out of) memory", reason):
            raise
        status, message = 1, f"not enough memory for such batches or files ({reason})"
    except Stopped as stopped:
        print(end="\r", file=sys.stderr)  # over a progress bar that was just being drawn
        status = 128 + stopped.args[0]
        message = "stopped; finished runs are recorded, the same command goes on from there"
    else:
        return
    finally:  # nothing is left to be told about
        _handle_signals(signal.SIG_DFL)
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(status)
