"""Write files whole or not at all, and read arrays."""

import contextlib
import io
import os
import pickle
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

# Seconds between the attempts to write a file. A virus scanner or a network file system may refuse
# a rename once.
PAUSES = (0.1, 0.5, 2.0)


class UserError(Exception):
    """Raised for what the user can put right. The message is one line that says how."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all, and try again if that is refused.

    It is written to a temporary file beside `path`, which is then renamed. A reader sees the old
    file or the new one. Raises UserError, for instance on a full disk.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # nobody else's, anywhere
    for pause in (*PAUSES, None):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(content)
            os.replace(temporary, path)
            return
        except OSError as error:
            if pause is None:
                raise UserError(f"{path}: cannot be written ({reason(error)})") from error
            time.sleep(pause)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Return what an OSError says, without its file."""
    return error.strerror or str(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or [""])[0]


def saved(save: Callable[..., object], *arguments: Any, **named: Any) -> bytes:
    """Return what a function such as `np.save` writes to a file."""
    buffer = io.BytesIO()
    save(buffer, *arguments, **named)
    return buffer.getvalue()


def read_npy(path: Path, way_out: str) -> np.ndarray:
    """Return the array of an .npy file. Pickled objects are refused.

    Raises UserError with a message that ends with `way_out`.
    """
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({reason(error)}); {way_out}") from error
    except Exception as error:  # NumPy raises many kinds on damaged bytes
        raise UserError(f"{path}: not an .npy file ({first_line(error)}); {way_out}") from error


class _Pickler(pickle.Pickler):
    """Pickles arrays so that NumPy 1.20 to 2.x can read them; NumPy 2 itself names numpy._core."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.ndarray:
            return np.ndarray, (value.shape, value.dtype.str, bytearray(value.tobytes()))
        return NotImplemented


def save_dictionary(path: Path, result: dict) -> None:
    """Pickle a dictionary of results to `path`."""
    write_atomically(path, saved(lambda file: _Pickler(file, protocol=4).dump(result)))
