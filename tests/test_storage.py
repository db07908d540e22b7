"""Files that are written for others, and files whose author wishes us ill."""

import io
import pickle
import tracemalloc
import zipfile

from experiments.records import DamagedRecord, load
from experiments.storage import UserError, read_npy, read_npz, save_dictionary

import numpy as np
import pytest
from helpers_faults import TouchesMark

LIMIT = 1_000_000  # bytes that the .npz files here may unpack to
PETABYTE = 10**15  # more than the address space of a process


# ---- Dictionaries


def test_a_pickled_dictionary_loads_equal_in_any_numpy(tmp_path):
    """NumPy 1 has no numpy._core, which NumPy 2 names by itself."""
    weights = np.arange(12, dtype=np.float32).reshape(3, 4).T  # in another order in memory
    result = {
        "name": "mlp_1", "loss_curve": [2.3, float("inf"), -1.0], "test_acc": 50.0,
        "drop_epochs": [2, 5], "weights": weights,
    }  # fmt: skip
    save_dictionary(tmp_path / "part3_mlp_1.pkl", result)
    content = (tmp_path / "part3_mlp_1.pkl").read_bytes()
    assert b"_core" not in content
    assert b"multiarray" not in content
    loaded = pickle.loads(content)
    assert loaded["weights"].flags.writeable
    np.testing.assert_array_equal(loaded["weights"], weights, strict=True)
    assert list(loaded.items())[:-1] == list(result.items())[:-1]


# ---- Hostile arrays: nothing in them is believed or run


def npy(shape=(4,), descr="<f4", data=b"\0" * 16):
    """The bytes of an .npy file with this header, whatever the data."""
    file, header = io.BytesIO(), {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue() + data


def write_zip(path, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)


LIES = {
    "petabytes": npy(shape=(PETABYTE,)),
    "more than 64 bits count": npy(shape=(2**40, 2**40)),
    "zero times petabytes": npy(shape=(0, 2**40, 2**40), data=b""),
    "a little more": npy(shape=(5,)),
    "objects": npy(shape=(2,), descr="|O"),
    "brackets without end": b"\x93NUMPY\1\0\xff\xff" + b"(" * 65535,
    "a header of code": npy().replace(b"False", b"id(0)"),
    "unknown version": npy().replace(b"NUMPY\1\0", b"NUMPY\7\0"),
    "zeros": bytes(200),
    "nothing": b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_header_is_refused(lie, tmp_path):
    path = tmp_path / "samples.npy"
    path.write_bytes(LIES[lie])
    with pytest.raises(UserError, match=f"{path}: not a readable .npy file .*; look elsewhere$"):
        read_npy(path, "look elsewhere")
    path = tmp_path / "run_00.npz"
    write_zip(path, {"honest": npy(), "lying": LIES[lie]})
    with pytest.raises(ValueError, match=r"not a readable \.npz file"):
        read_npz(path, LIMIT)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_bomb_is_refused_before_it_is_unpacked(method, tmp_path):
    path = tmp_path / "run_00.npz"
    write_zip(path, {"curve": npy(shape=(10**8,), descr="|u1", data=bytes(10**8))}, method)
    assert path.stat().st_size < LIMIT
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 1000000 bytes"):
            read_npz(path, LIMIT)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000  # at any time
    finally:
        tracemalloc.stop()


def test_objects_are_never_unpickled(tmp_path):
    mark, objects = tmp_path / "mark", np.empty(1, dtype=object)
    objects[0] = TouchesMark(mark)
    np.save(tmp_path / "samples.npy", objects)
    np.savez(tmp_path / "run_00.npz", loss_curve=objects)
    (tmp_path / "run_01.npz").write_bytes(pickle.dumps(objects))
    np.load(tmp_path / "samples.npy", allow_pickle=True)
    mark.unlink()  # so the payload does work
    with pytest.raises(UserError, match="allow_pickle"):
        read_npy(tmp_path / "samples.npy", "look elsewhere")
    for number in (0, 1):
        with pytest.raises(DamagedRecord, match="allow_pickle="):
            load(tmp_path / f"run_{number:02d}.npz")
    assert not mark.exists()
