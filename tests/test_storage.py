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


@pytest.mark.parametrize(
    "weights",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(12, dtype=np.float64).reshape(3, 4).T,
        np.array(1.5, np.float32),
        np.zeros((2, 0), ">i4"),
    ],
    ids=["C", "transposed", "scalar", "empty"],
)
def test_a_pickled_dictionary_loads_equal_in_any_numpy(weights, tmp_path):
    """NumPy 1 has no numpy._core, which NumPy 2 names by itself."""
    result = {
        "name": "mlp_1",
        "loss_curve": [2.3, float("inf"), -1.0],
        "test_acc": 50.0,
        "drop_epochs": [2, 5],
        "weights": weights,
    }
    path = tmp_path / "part3_mlp_1.pkl"
    save_dictionary(path, result)
    content = path.read_bytes()
    assert b"numpy._core" in pickle.dumps(result)
    assert b"_core" not in content
    assert b"multiarray" not in content
    loaded = pickle.loads(content)
    assert loaded["weights"].flags.writeable
    np.testing.assert_array_equal(loaded.pop("weights"), weights, strict=True)
    assert loaded == {key: value for key, value in result.items() if key != "weights"}
    assert list(loaded) == list(result)[:-1]


# ---- Hostile arrays: nothing in them is believed or run


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
    "petabytes": npy(shape=(PETABYTE,)),
    "petabytes, version 2": npy(shape=(PETABYTE,), version=2),
    "petabytes by few items": npy(shape=(500_000,), descr="|V2000000000"),
    "more than 64 bits count": npy(shape=(2**40, 2**40)),
    "zero times petabytes": npy(shape=(0, 2**40, 2**40), data=b""),
    "negative sizes": npy(shape=(-2, -2)),
    "a little more": npy(shape=(5,)),
    "objects": npy(shape=(2,), descr="|O"),
    "objects in fields": npy(shape=(2,), descr=[("a", "|O")]),
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


@pytest.mark.parametrize(
    "text", ["[" * 10**5, '{"a":' * 10**5, "9" * 10**5, "{}" * 2, "", "1"],
    ids=["brackets", "nested", "digits", "twice", "empty", "a number"],
)  # fmt: skip
def test_a_definition_that_is_not_one_is_damage(text, tmp_path):
    path = tmp_path / "run_00.npz"
    np.savez(path, config=np.array(text), environment=np.array("{}"), loss_curve=np.zeros(1))
    with pytest.raises(DamagedRecord):
        load(path)
