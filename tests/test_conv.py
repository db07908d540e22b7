import numpy as np
import pytest
import torch
from conftest import ROOT

from part2_conv import draw_digits, make_kernels, my_conv2d

COURSE_FILES = ROOT.parent / "shared" / "part2"


@pytest.mark.parametrize(
    ("input_shape", "kernel_shape"),
    [
        ((5, 1, 28, 28), (8, 1, 4, 4)),
        ((1, 1, 1, 1), (1, 1, 1, 1)),
        ((2, 3, 7, 5), (4, 3, 7, 5)),
        ((2, 3, 8, 9), (1, 3, 1, 4)),
        ((3, 2, 6, 6), (5, 2, 3, 1)),
        ((4, 16, 12, 11), (6, 16, 5, 2)),
    ],
)
def test_equals_torch(input_shape, kernel_shape):
    generator = np.random.default_rng(0)
    input = generator.standard_normal(input_shape)
    kernel = generator.standard_normal(kernel_shape)
    out = my_conv2d(input, kernel)
    expected = torch.conv2d(torch.from_numpy(input), torch.from_numpy(kernel)).numpy()
    assert out.shape == expected.shape
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("input_dtype", "kernel_dtype", "out_dtype"),
    [
        ("float32", "float32", "float32"),
        ("float16", "float16", "float16"),
        ("uint8", "float64", "float64"),
        ("uint8", "int8", "float64"),
        ("bool", "bool", "float64"),
        ("int64", "float32", "float64"),
    ],
)
def test_dtype_is_the_common_floating_one(input_dtype, kernel_dtype, out_dtype):
    generator = np.random.default_rng(0)
    input = generator.integers(0, 2, (2, 3, 5, 5)).astype(input_dtype)
    kernel = generator.integers(0, 2, (4, 3, 2, 2)).astype(kernel_dtype)
    out = my_conv2d(input, kernel)
    assert out.dtype == out_dtype
    expected = torch.conv2d(torch.tensor(input).double(), torch.tensor(kernel).double())
    np.testing.assert_array_equal(out, expected.numpy())


def test_integers_do_not_wrap():
    input = np.full((1, 1, 2, 2), 255, np.uint8)
    kernel = np.full((1, 1, 2, 2), 255, np.uint8)
    assert my_conv2d(input, kernel).item() == 4 * 255 * 255


def test_course_files():
    if not COURSE_FILES.exists():
        pytest.skip("the course's files are not in ../shared/part2")
    kernel = np.load(COURSE_FILES / "kernel.npy")
    for file in sorted(COURSE_FILES.glob("samples_*.npy")):
        samples = np.load(file)
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
