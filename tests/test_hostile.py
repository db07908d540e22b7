"""Pickles whose author wishes us ill: none runs code or reads foreign memory."""

import os
import pickle
import random

import numpy as np
import pytest
from helpers_faults import flipped

from files import UserError, load_dictionary, save_dictionary

GOOD = {
    "name": "mlp_1",
    "loss_curve": [2.3, float("inf"), -1.0],
    "test_acc": np.float64(50),
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
}


class Call:
    """Is pickled as the call of `function`, whose result then gets `state`."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments, state)

    def __reduce__(self):
        return self.reduced


def payloads(mark):
    """Pickles that create `mark` if they are loaded without care."""
    command, code = f"touch {mark}", f"open({str(mark)!r}, 'w').close()"
    touch = Call(os.system, command)
    dictionaries = [GOOD | {"name": touch}, GOOD | {"weights": np.array([touch], dtype=object)}]
    calls = [touch, Call(eval, code), Call(exec, code), Call(open, str(mark), "w")]
    for hostile in calls + dictionaries:
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            yield pickle.dumps(hostile, protocol)
    yield f"(S'{command}'\nios\nsystem\n.".encode()  # by the opcode INST
    yield f"(cos\nsystem\nS'{command}'\no.".encode()  # by the opcode OBJ
    imported = "cbuiltins\n__import__\n(S'os'\ntR"
    yield f"cbuiltins\ngetattr\n({imported}S'system'\ntR(S'{command}'\ntR.".encode()


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    mark, path = tmp_path / "mark", tmp_path / "part3_mlp_1.pkl"
    for payload in payloads(mark):
        pickle.loads(payload)
        mark.unlink()  # so the payload does work
        path.write_bytes(payload)
        with pytest.raises(UserError, match=f"{path}: not a plain pickled"):
            load_dictionary(path)
        assert not mark.exists()


@pytest.mark.parametrize("name", ["ndarray.__class__", "dtype.__new__", "lib", "load", "memmap"])
def test_nothing_else_of_an_admitted_module_is_admitted(name, tmp_path):
    path = tmp_path / "part3_mlp_1.pkl"
    path.write_bytes(f"\x80\x04cnumpy\n{name}\n.".encode("latin1"))
    with pytest.raises(UserError, match=f"refers to numpy.{name}, which is not plain data"):
        load_dictionary(path)


# What numpy.dtype and numpy.ndarray believe when a pickle says so. Loaded with pickle.load, a look
# at such an array ends the process or shows foreign memory.
LAYOUTS = {
    "bytes as pointers": (("O8",), (3, "|", None, None, None, -1, -1, 0)),
    "field far outside": (("V8",), (3, "|", None, ("a",), {"a": (np.dtype("i8"), 10**9)}, 8, 1, 0)),
    "parts larger than the whole": (("V8",), (3, "|", (np.dtype("i8"), (9**6,)), None, None, 8, 1)),
    "pointers in a field": (("V8",), (3, "|", None, ("a",), {"a": (np.dtype("O"), 0)}, 8, 1, 0)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_array_with_an_impossible_layout_is_refused(layout, tmp_path):
    name, state = LAYOUTS[layout]
    dtype = Call(np.dtype, *name, False, True, state=state)
    rebuild = np.zeros(1).__reduce__()[0]
    array = Call(rebuild, np.ndarray, (0,), b"b", state=(1, (1,), dtype, False, b"A" * 8))
    path = tmp_path / "part3_mlp_1.pkl"
    for hostile in (array, GOOD | {"weights": array}, {"weights": dtype}):
        path.write_bytes(pickle.dumps(hostile))
        with pytest.raises(UserError, match="not a plain pickled dictionary"):
            load_dictionary(path)


def test_an_array_without_data_shows_no_foreign_memory(tmp_path):
    rebuild = np.zeros(1).__reduce_ex__(5)[0]
    array = Call(rebuild, None, np.dtype(float), (1000,), "C")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"weights": array}))
    with pytest.raises(UserError, match="not a plain pickled dictionary"):
        load_dictionary(tmp_path / "x.pkl")


def plain(value):
    """Whether a value is made of containers, numbers, strings and arrays of numbers."""
    if isinstance(value, dict):
        return all(plain(key) and plain(item) for key, item in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(plain, value))
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufc"
    return value is None or isinstance(value, str | bytes | bytearray | int | float | complex)


def test_a_damaged_dictionary_is_refused_or_plain(tmp_path):
    save_dictionary(tmp_path / "whole.pkl", GOOD)
    whole = (tmp_path / "whole.pkl").read_bytes()
    for length in range(len(whole)):
        path = tmp_path / f"{length}.pkl"
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match="not a plain pickled dictionary"):
            load_dictionary(path)
    for bit in random.Random(6).sample(range(8 * len(whole)), 1000):
        path = tmp_path / f"bit_{bit}.pkl"
        path.write_bytes(flipped(whole, bit))
        try:
            assert plain(load_dictionary(path))
        except UserError as error:
            assert "not a plain pickled dictionary" in str(error)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_dictionaries_of_any_protocol_are_read(protocol, tmp_path):
    path = tmp_path / "part3_mlp_1.pkl"
    path.write_bytes(pickle.dumps(GOOD, protocol))
    result = load_dictionary(path)
    assert list(result) == list(GOOD)
    for name, value in GOOD.items():
        assert type(result[name]) is type(value)
        np.testing.assert_array_equal(result[name], value)
