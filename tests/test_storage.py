"""Files that are written for others, on disks that refuse, and files whose author is ill-willed."""

import errno
import os
import pickle

import numpy as np
import pytest

from experiments.records import DamagedRecord, load
from experiments.storage import UserError, read_npy, save_dictionary, write_atomically


@pytest.fixture
def refuse(monkeypatch):
    """Makes a function of `os` fail so often with an error; the pauses in between are skipped."""

    def refuse(function, number, times):
        real, left = getattr(os, function), [number] * times

        def refusing(*arguments):
            if left:
                raise OSError(left.pop(), "refused", *arguments)
            return real(*arguments)

        monkeypatch.setattr(os, function, refusing)

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return refuse


@pytest.mark.parametrize("number", [errno.EACCES, errno.ESTALE])
def test_a_rename_that_is_refused_once_is_tried_again(number, refuse, tmp_path):
    refuse("replace", number, 1)
    write_atomically(tmp_path / "new" / "file", b"result")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]
    assert (tmp_path / "new" / "file").read_bytes() == b"result"


def test_a_rename_that_stays_refused_is_one_line_and_leaves_what_was_there(refuse, tmp_path):
    write_atomically(tmp_path / "file", b"old")
    refuse("replace", errno.EACCES, 100)
    with pytest.raises(UserError, match=r"^.*file: .*refused"):
        write_atomically(tmp_path / "file", b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_pickled_dictionary_loads_equal_in_any_numpy(tmp_path):
    """NumPy 1 has no numpy._core, which NumPy 2 names by itself."""
    weights = np.arange(12, dtype=np.float32).reshape(3, 4).T  # in another order in memory
    result = {"name": "mlp_1", "loss_curve": [2.3, float("inf")], "drop_epochs": [2, 5]}
    save_dictionary(tmp_path / "part3_mlp_1.pkl", result | {"weights": weights})
    content = (tmp_path / "part3_mlp_1.pkl").read_bytes()
    assert b"_core" not in content
    assert b"multiarray" not in content
    loaded = pickle.loads(content)
    assert loaded["weights"].flags.writeable
    np.testing.assert_array_equal(loaded.pop("weights"), weights, strict=True)
    assert loaded == result


class TouchesMark:
    """Pickled, it creates a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_objects_are_never_unpickled(tmp_path):
    mark, objects = tmp_path / "mark", np.empty(1, dtype=object)
    objects[0] = TouchesMark(mark)
    np.save(tmp_path / "samples.npy", objects)
    np.savez(tmp_path / "run_00.npz", loss_curve=objects)
    (tmp_path / "run_01.npz").write_bytes(pickle.dumps(objects))
    np.load(tmp_path / "samples.npy", allow_pickle=True)
    mark.unlink()  # so the payload does work
    with pytest.raises(UserError, match=r"samples.npy: .*; look elsewhere$"):
        read_npy(tmp_path / "samples.npy", "look elsewhere")
    for name in ("run_00.npz", "run_01.npz"):
        with pytest.raises(DamagedRecord, match=f"{name}: "):
            load(tmp_path / name)
    assert not mark.exists()
