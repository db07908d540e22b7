"""my_conv2d: against torch and the definition, over what hypothesis thinks of; and its script."""

import json

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from conftest import ROOT, call_script
from hypothesis import given, settings
from hypothesis import strategies as st

from part2_conv import compare_with_torch, draw_digits, make_kernels, my_conv2d

COURSE_FILES = ROOT.parent / "shared" / "part2"
DTYPES = [np.dtype(code) for code in "?bhiqBHIQefd"]  # bool to float64
LAYOUTS = [np.asarray, np.asfortranarray, np.flip, lambda a: np.broadcast_to(a[:1], a.shape)]
MANY = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def random_arrays(*shapes, dtype=np.float64):
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_equals_torch(dtype):
    input, kernel = random_arrays((4, 16, 12, 11), (6, 16, 5, 2), dtype=dtype)
    expected = torch.conv2d(*(torch.from_numpy(a).double() for a in (input, kernel)))
    out = torch.from_numpy(my_conv2d(input, kernel))
    torch.testing.assert_close(out, expected.to(out.dtype))
    assert out.numpy().dtype == dtype


def test_many_products_of_half_precision_are_summed_in_single():
    ones = np.ones((1, 1, 70, 70), np.float16)  # half precision counts to 2048
    assert my_conv2d(ones, ones).item() == 4900
    tenths = (ones / 10).astype(np.float16)
    assert my_conv2d(tenths, ones).item() == pytest.approx(490, rel=1e-3)


def test_course_files():
    if not COURSE_FILES.exists():
        pytest.skip("the course's files are not in ../shared/part2")
    kernel = np.load(COURSE_FILES / "kernel.npy")
    files = sorted(COURSE_FILES.glob("samples_*.npy"))
    assert files
    for samples in map(np.load, files):
        out = my_conv2d(samples, kernel)
        assert out.shape == (5, 8, 25, 25)
        expected = torch.conv2d(torch.tensor(samples).double(), torch.tensor(kernel))
        np.testing.assert_allclose(out, expected.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("input", "kernel", "error"),
    [
        (np.ones((28, 28)), np.ones((8, 1, 4, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((4, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 2, 4, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 1, 29, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 1, 4, 29)), ValueError),
        (np.ones((0, 1, 28, 28)), np.ones((8, 1, 4, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 1, 0, 4)), ValueError),
        (np.full((5, 1, 28, 28), "x"), np.ones((8, 1, 4, 4)), TypeError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 1, 4, 4), object), TypeError),
        (np.ones((5, 1, 28, 28), complex), np.ones((8, 1, 4, 4)), TypeError),
    ],
)
def test_bad_arrays_are_refused_with_both_shapes(input, kernel, error):
    with pytest.raises(error) as caught:
        my_conv2d(input, kernel)
    assert str(input.shape) in str(caught.value)
    assert str(kernel.shape) in str(caught.value)


def test_built_in_digits_and_kernels_have_the_course_shapes():
    digits, kernels = draw_digits(), make_kernels()
    assert digits.shape == (5, 1, 28, 28)
    assert digits.dtype == np.uint8
    assert digits.min() == 0
    assert digits.max() > 200
    assert len({digit.tobytes() for digit in digits}) == 5
    assert kernels.shape == (8, 1, 4, 4)
    assert len({kernel.tobytes() for kernel in kernels}) == 8


# ---- The script's comparison with torch


def test_the_largest_difference_from_torch_is_found():
    input, kernel = random_arrays((2, 3, 7, 5), (4, 3, 2, 2))
    out = my_conv2d(input, kernel)
    assert compare_with_torch(input, kernel, out) < 1e-12
    out[1, 2, 3, 1] += 5
    assert compare_with_torch(input, kernel, out) == pytest.approx(5)


def test_nan_and_infinity_are_compared_where_finite_and_said_in_words(tmp_path):
    """A kernel of 2 x 2 sees one pixel at 4 places and that of a corner at 1, of 2 x 25."""
    images, kernel = np.ones((2, 1, 6, 6)), np.full((1, 1, 2, 2), 0.1)
    images[0, 0, 2, 2], images[1, 0, 0, 0] = np.nan, -np.inf
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "kernel.npy", kernel)
    files = ("--samples", "images.npy", "--kernel", "kernel.npy")
    said = call_script("part2_conv.py", *files, cwd=tmp_path).stdout
    assert "built-in" not in said
    assert "not finite: 5 of 50 values of the output\n" in said
    difference = json.loads((tmp_path / "results" / "part2.json").read_text())["largest_difference"]
    assert 0 <= difference < 1e-12
    assert f"largest difference from torch.conv2d: {difference:.2g}\n" in said
    out = np.load(tmp_path / "results" / "part2_out.npy")
    assert np.count_nonzero(~np.isfinite(out)) == 5
    assert compare_with_torch(np.full_like(images, np.nan), kernel, np.full_like(out, np.nan)) == 0


# ---- Shapes, layouts, dtypes and values that hypothesis thinks of


def conv_by_loops(input, kernel):
    """The definition, one product at a time."""
    (n, c, height, width), (o, _, h, w) = input.shape, kernel.shape
    out = np.zeros((n, o, height - h + 1, width - w + 1))
    with np.errstate(invalid="ignore"):  # inf - inf, as asked for
        for image, unit, y, x in np.ndindex(out.shape):
            for channel, i, j in np.ndindex(c, h, w):
                pixel = float(input[image, channel, y + i, x + j])
                out[image, unit, y, x] += pixel * float(kernel[unit, channel, i, j])
    return out


@st.composite
def shapes(draw):
    """Shapes of an input and of a kernel that fit together."""
    n, o, c = (draw(st.integers(1, 3)) for _ in range(3))
    h, w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    height, width = h + draw(st.integers(0, 4)), w + draw(st.integers(0, 4))
    return (n, c, height, width), (o, c, h, w)


@st.composite
def operands(draw, elements=None, dtypes=DTYPES):
    """An input and a kernel, of small whole numbers, which are exact in every dtype and sum."""
    arrays = []
    for shape in draw(shapes()):
        dtype = draw(st.sampled_from(dtypes))
        low = {"b": 0, "u": 0}.get(dtype.kind, -4)
        whole = st.integers(low, 1 if dtype.kind == "b" else 4)
        numbers = whole if elements is None else elements
        values = draw(hnp.arrays(np.float64, shape, elements=numbers)).astype(dtype)
        arrays.append(draw(st.sampled_from(LAYOUTS))(values))
    return arrays


@MANY
@given(operands())
def test_is_the_definition_for_every_layout_and_dtype(arrays):
    """And the arrays that are given are neither modified nor part of the result."""
    before = [array.copy() for array in arrays]
    out = my_conv2d(*arrays)
    expected = np.result_type(*arrays)
    assert out.dtype == (expected if expected.kind == "f" else np.float64)
    np.testing.assert_array_equal(out, conv_by_loops(*arrays))
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert not np.shares_memory(out, array)
    assert out.flags.writeable


@MANY
@given(operands(st.sampled_from([0.0, 1.0, -2.0, np.nan, np.inf, -np.inf]), DTYPES[-3:]))
def test_nan_and_infinity_reach_the_outputs_that_see_them_and_no_others(arrays):
    np.testing.assert_array_equal(my_conv2d(*arrays), conv_by_loops(*arrays))
