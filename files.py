"""Files that are whole or not there, and that can be read without trusting whoever wrote them."""

import contextlib
import math
import os
import pickle
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

_PROCESS = f".{socket.gethostname()}."  # stands before the process number in temporary names


class UserError(Exception):
    """Something that the user can put right; its message is one line and says how."""


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Call `write` on a temporary file beside `path`, then rename it to `path`.

    A reader sees the old file or the new one, never a part, whatever happens in between. The
    temporary file is removed when `write` fails. Raises UserError, for instance on a full disk.
    """
    temporary = path.with_name(f".{path.name}{_PROCESS}{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_stray_temporaries(out: Path) -> None:
    """Remove what killed processes of this machine left in `out`; those of living ones stay."""
    for temporary in [*out.glob(".*.tmp"), *(out / "runs").rglob(".*.tmp")]:
        _, on_this_machine, process = temporary.stem.rpartition(_PROCESS)
        if on_this_machine and process.isdecimal() and not _is_alive(int(process)):
            temporary.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where signal 0 would be Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def write_npz(path: Path, arrays: dict[str, np.ndarray], compress: bool = False) -> None:
    """Write `arrays` to `path` as NumPy's .npz, atomically."""
    save = np.savez_compressed if compress else np.savez
    write_atomically(path, lambda file: save(file, **arrays))


def read_npz(path: Path, max_bytes: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz file of at most `max_bytes` unpacked, checksums verified.

    Headers are checked before anything is allocated, and objects (pickles) are not admitted.
    Raises OSError if the file cannot be read, ValueError if it is damaged or not such a file.
    """
    arrays = {}
    try:
        if path.stat().st_size > max_bytes:
            raise ValueError(f"has more than {max_bytes} bytes")
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > max_bytes:
                raise ValueError(f"unpacks to more than {max_bytes} bytes")
            for member in archive.infolist():
                if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError("not compressed as NumPy does")  # zipfile trusts the others
                with archive.open(member) as file:
                    _check_header(file, member.file_size)
                with archive.open(member) as file:
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
                    file.read(1)  # to the end of the member, where its checksum is verified
    except OSError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds on damaged bytes
        reason = str(error).partition("\n")[0]  # NumPy's advice to trust the file comes after that
        raise ValueError(f"not a readable .npz file ({reason})") from error
    return arrays


def read_npy(path: Path, way_out: str, max_bytes: int = 1_000_000_000) -> np.ndarray:
    """The array of an .npy file; one of objects (pickles) is not admitted.

    Raises UserError, which ends with `way_out`.
    """
    try:
        with open(path, "rb") as file:
            if path.stat().st_size > max_bytes:
                raise ValueError(f"has more than {max_bytes} bytes")
            _check_header(file, path.stat().st_size)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # as above
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise UserError(f"{path}: not a readable .npy file ({reason}); {way_out}") from error


def _check_header(file: BinaryIO, member_bytes: int) -> None:
    """Refuse an array whose header promises other than the bytes that the archive holds."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if file.tell() + math.prod(shape) * dtype.itemsize != member_bytes:
        raise ValueError(f"the header promises an array of {shape} {dtype}, the data differ")


# What a pickled dictionary of results may refer to: how NumPy rebuilds arrays and numbers.
_ADMITTED = {
    *((module, name)
      for module in ("numpy.core.multiarray", "numpy._core.multiarray")
      for name in ("_reconstruct", "scalar")),
    *((module, "_frombuffer") for module in ("numpy.core.numeric", "numpy._core.numeric")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # how protocol 2 and lower spell bytes
}  # fmt: skip


class _DType:
    """Stands in for numpy.dtype, which believes any layout a file claims, and so reads anywhere."""

    def __init__(self, name: str, *_):
        self.numeric = np.dtype(name)
        if self.numeric.kind not in "biufc":
            raise pickle.UnpicklingError(f"it holds an array of {name}, not of numbers")

    def __setstate__(self, state: tuple):
        self.numeric = self.numeric.newbyteorder(state[1])


class _Array(np.ndarray):
    """An array whose state names a `_DType`."""

    def __setstate__(self, state: tuple):
        version, shape, dtype, is_fortran, data = state
        super().__setstate__((version, shape, dtype.numeric, is_fortran, data))


_STAND_INS = {
    "_reconstruct": lambda *_: np.ndarray.__new__(_Array, 0),
    "scalar": lambda dtype, data: np.frombuffer(data, dtype.numeric, 1)[0],
    "_frombuffer": lambda data, dtype, shape, order: np.frombuffer(data, dtype.numeric).reshape(
        shape, order=order
    ),
    "ndarray": None,  # an argument only
    "dtype": _DType,
    "encode": lambda text, _: text.encode("latin1"),
}


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not plain data")
        return _STAND_INS[name]


def save_dictionary(path: Path, result: dict) -> None:
    """Pickle a dictionary of results to `path`, atomically."""
    write_atomically(path, lambda file: pickle.dump(result, file, protocol=4))


def load_dictionary(path: Path) -> dict:
    """For readers: a dictionary that `save_dictionary` wrote, without running anybody's code.

    Containers, numbers, strings and arrays of numbers are admitted, all else raises UserError.
    """
    try:
        with open(path, "rb") as file:
            result = _PlainUnpickler(file).load()
        if not isinstance(result, dict):
            raise ValueError(f"it holds a {type(result).__name__}")
        return {k: np.asarray(v) if isinstance(v, _Array) else v for k, v in result.items()}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # unpickling damaged bytes can raise nearly anything
        raise UserError(f"{path}: not a plain pickled dictionary ({error})") from error
