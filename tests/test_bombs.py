"""Arrays in files whose author wishes us ill: nothing is believed, run or allocated for them."""

import contextlib
import io
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from files import UserError, read_npy, read_npz
from records import read_record

LIMIT = 1_000_000  # bytes that the .npz files here may unpack to
TERABYTE = 10**12


class TouchesMark:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@contextlib.contextmanager
def frugal():
    """What is done here takes no more than ten megabytes at any time, NumPy's arrays included."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def npy(shape=(4,), descr="<f4", data=b"\0" * 16, version=1):
    """The bytes of an .npy file with this header, whatever the data."""
    file = io.BytesIO()
    write = getattr(np.lib.format, f"write_array_header_{version}_0")
    write(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def write_zip(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


LIES = {
    "terabytes": npy(shape=(TERABYTE,)),
    "terabytes, version 2": npy(shape=(TERABYTE,), version=2),
    "terabytes by few items": npy(shape=(500,), descr="|V2000000000"),
    "more than 64 bits count": npy(shape=(2**40, 2**40)),
    "zero times terabytes": npy(shape=(0, 2**40, 2**40), data=b""),
    "negative sizes": npy(shape=(-2, -2)),
    "a little more": npy(shape=(5,)),
    "a little less": npy(shape=(3,)),
    "objects": npy(shape=(2,), descr="|O"),
    "objects in fields": npy(shape=(2,), descr=[("a", "|O")]),
    "brackets without end": b"\x93NUMPY\1\0\xff\xff" + b"(" * 65535,
    "a header of code": npy().replace(b"False", b"id(0)"),
    "unknown version": npy().replace(b"NUMPY\1\0", b"NUMPY\7\0"),
    "zeros": bytes(200),
    "nothing": b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused_before_anything_is_allocated(lie, tmp_path):
    path = tmp_path / "samples.npy"
    path.write_bytes(LIES[lie])
    with (
        frugal(),
        pytest.raises(UserError, match=f"{path}: not a readable .npy file .*; look elsewhere$"),
    ):
        read_npy(path, "look elsewhere")
    path = tmp_path / "run_00.npz"
    write_zip(path, {"honest": npy(), "lying": LIES[lie]})
    with frugal(), pytest.raises(ValueError, match=r"not a readable \.npz file"):
        read_npz(path, LIMIT)


def test_a_terabyte_of_nothing_is_refused(tmp_path):
    """A sparse file takes no room on the disk, and its header is true."""
    path = tmp_path / "samples.npy"
    header = npy(shape=(TERABYTE,), descr="|u1", data=b"")
    path.write_bytes(header)
    os.truncate(path, len(header) + TERABYTE)
    with frugal(), pytest.raises(UserError, match=f"{path}: .* more than"):
        read_npy(path, "look elsewhere")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_refused_before_it_is_unpacked(method, tmp_path):
    path = tmp_path / "run_00.npz"
    write_zip(path, {"curve": npy(shape=(10**8,), descr="|u1", data=bytes(10**8))}, method)
    assert path.stat().st_size < LIMIT
    with frugal(), pytest.raises(ValueError, match="more than 1000000 bytes"):
        read_npz(path, LIMIT)

    lying = bytearray(path.read_bytes())  # says that it is small
    entry = lying.rindex(b"PK\1\2")
    lying[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    path.write_bytes(lying)
    with frugal(), pytest.raises(ValueError, match="not a readable"):
        read_npz(path, LIMIT)


def test_a_directory_larger_than_the_limit_is_refused(tmp_path):
    """A sparse file again, whose last bytes say that all before them is the list of members."""
    path, size = tmp_path / "run_00.npz", 10**9
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, size, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, size, 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 1, 1, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(b"")
    os.truncate(path, size)
    with open(path, "ab") as file:
        file.write(end64 + locator + end)
    with frugal(), pytest.raises(ValueError, match="more than 1000000 bytes"):
        read_npz(path, LIMIT)


def test_objects_are_never_unpickled(tmp_path):
    mark, objects = tmp_path / "mark", np.empty(1, dtype=object)
    objects[0] = TouchesMark(mark)
    np.save(tmp_path / "samples.npy", objects)
    np.savez(tmp_path / "run_00.npz", loss_curve=objects)
    np.load(tmp_path / "samples.npy", allow_pickle=True)
    mark.unlink()  # so the payload does work
    with pytest.raises(UserError, match="Python objects"):
        read_npy(tmp_path / "samples.npy", "look elsewhere")
    with pytest.raises(ValueError, match="Python objects"):
        read_record(tmp_path / "run_00.npz")
    assert not mark.exists()


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "9" * 10**5, "{}" * 2, "", "1"])
def test_a_definition_that_is_not_one_is_damage(text, tmp_path):
    path = tmp_path / "run_00.npz"
    np.savez(path, config=np.array(text), environment=np.array("{}"), loss_curve=np.zeros(1))
    with pytest.raises(ValueError):
        read_record(path)
