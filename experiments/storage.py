"""Atomic writing and safe reading of files."""

import contextlib
import errno
import io
import os
import pickle
import socket
from pathlib import Path
from typing import Any

import numpy as np
import psutil

_PROCESS = f".{socket.gethostname()}."  # stands before the process number in temporary names
# Errors of file systems without fsync
_NO_FSYNC = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


class UserError(Exception):
    """Raised for what the user can put right. The message is one line that says how."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path`, whole or not at all.

    It is written to a temporary file beside `path`, which is then renamed. A reader sees the old
    file or the new one, whatever happens in between. Raises UserError, for instance on a full disk.
    """
    temporary = path.with_name(f".{path.name}{_PROCESS}{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in _NO_FSYNC:
                    raise
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({reason(error)})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """Return what an OSError says, in words for users."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    return error.strerror or str(error)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return (str(error).strip().splitlines() or [""])[0]


def remove_stray_temporaries(out: Path) -> None:
    """Remove the temporary files that killed processes of this machine left in `out`."""
    for temporary in [*out.glob(".*.tmp"), *out.glob("runs/*/*/.*.tmp")]:
        _, on_this_machine, process = temporary.stem.rpartition(_PROCESS)
        if on_this_machine and process.isdecimal() and not psutil.pid_exists(int(process)):
            temporary.unlink(missing_ok=True)


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """Return `arrays` in NumPy's .npz format."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def npy_bytes(array: np.ndarray) -> bytes:
    """Return `array` in NumPy's .npy format."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def read_npz(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file that has at most `max_bytes` unpacked.

    Checksums are verified and pickled objects are refused. Raises OSError if the file cannot be
    read, and ValueError if it is damaged or not such a file.
    """
    if path.stat().st_size > max_bytes:
        raise ValueError(f"has more than {max_bytes} bytes")
    content = path.read_bytes()
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            if sum(member.file_size for member in file.zip.infolist()) > max_bytes:
                raise ValueError(f"unpacks to more than {max_bytes} bytes")
            arrays = dict(file)
        if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{strange[0]} is no array")
        return arrays
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged bytes
        # The rest of NumPy's message is the advice to trust the file
        raise ValueError(f"not a readable .npz file ({first_line(error)})") from error


def read_npy(path: Path, way_out: str) -> np.ndarray:
    """Return the array of an .npy file. Pickled objects are refused.

    Raises UserError with a message that ends with `way_out`.
    """
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # as above
        why = reason(error) if isinstance(error, OSError) else first_line(error)
        raise UserError(f"{path}: not a readable .npy file ({why}); {way_out}") from error


class _Pickler(pickle.Pickler):
    """Pickles arrays so that NumPy 1.20 to 2.x can read them; NumPy 2 itself names numpy._core."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is np.ndarray:
            return np.ndarray, (value.shape, value.dtype.str, bytearray(value.tobytes()))
        return NotImplemented


def save_dictionary(path: Path, result: dict) -> None:
    """Pickle a dictionary of results to `path`."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=4).dump(result)
    write_atomically(path, buffer.getvalue())
