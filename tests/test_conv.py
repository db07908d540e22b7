"""Part 2: my_conv2d against torch.conv2d, and the script around it."""

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, call_script

from part2_conv import compare_with_torch, draw_digits, make_kernels, my_conv2d

COURSE_FILES = ROOT.parent / "shared" / "part2"
LAYOUTS = (np.asarray, np.asfortranarray, np.flip, lambda a: np.broadcast_to(a[:1], a.shape))


def by_torch(input, kernel):
    return torch.conv2d(*(torch.from_numpy(a.astype(np.float64)) for a in (input, kernel))).numpy()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_equals_torch(dtype):
    generator = np.random.default_rng(0)
    shapes = ((4, 16, 12, 11), (6, 16, 5, 2))
    input, kernel = (generator.standard_normal(shape).astype(dtype) for shape in shapes)
    out = torch.from_numpy(my_conv2d(input, kernel))
    torch.testing.assert_close(out, torch.from_numpy(by_torch(input, kernel).astype(dtype)))


@pytest.mark.parametrize("code", "?bhiqBHIQefd")  # bool to float64
@pytest.mark.parametrize("special", [(), (np.nan, np.inf, -np.inf)])
def test_equals_torch_for_every_shape_layout_and_dtype(code, special):
    """Of whole numbers, which are exact, and of values that are not finite.

    The arrays that are given are neither modified nor part of the result.
    """
    generator = np.random.default_rng(ord(code))
    dtype, special = np.dtype(code), special if code in "efd" else ()
    values = {"b": [0, 1], "u": [0, 1, 2, 3]}.get(dtype.kind, [-4, -1, 0, 1, 2, *special])
    for _ in range(20):
        n, o, c, h, w, *more = generator.integers(1, 4, 7)
        shapes = ((n, c, h + more[0] - 1, w + more[1]), (o, c, h, w))
        arrays = [generator.choice(values, shape).astype(dtype) for shape in shapes]
        arrays = [LAYOUTS[generator.integers(4)](array) for array in arrays]
        before = [array.copy() for array in arrays]
        out = my_conv2d(*arrays)
        assert out.dtype == (dtype if dtype.kind == "f" else np.float64)
        np.testing.assert_array_equal(out, by_torch(*arrays))
        np.testing.assert_equal(arrays, before)
        assert not any(np.shares_memory(out, array) for array in arrays)


def test_many_products_of_half_precision_are_summed_in_single():
    ones = np.ones((1, 1, 70, 70), np.float16)  # half precision counts to 2048
    assert my_conv2d(ones, ones).item() == 4900


def test_course_files():
    if not COURSE_FILES.exists():
        pytest.skip("the course's files are not in ../shared/part2")
    kernel = np.load(COURSE_FILES / "kernel.npy")
    files = sorted(COURSE_FILES.glob("samples_*.npy"))
    assert files
    for samples in map(np.load, files):
        out = my_conv2d(samples, kernel)
        assert out.shape == (5, 8, 25, 25)
        np.testing.assert_allclose(out, by_torch(samples, kernel), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("input", "kernel", "error"),
    [
        (np.ones((28, 28)), np.ones((8, 1, 4, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 2, 4, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 1, 4, 29)), ValueError),
        (np.ones((0, 1, 28, 28)), np.ones((8, 1, 4, 4)), ValueError),
        (np.ones((5, 1, 28, 28)), np.ones((8, 1, 4, 4), object), TypeError),
        (np.ones((5, 1, 28, 28), complex), np.ones((8, 1, 4, 4)), TypeError),
    ],
)
def test_bad_arrays_are_refused_with_both_shapes(input, kernel, error):
    with pytest.raises(error) as caught:
        my_conv2d(input, kernel)
    assert str(input.shape) in str(caught.value)
    assert str(kernel.shape) in str(caught.value)


# ---- The script


def test_built_in_input_has_the_course_shapes_and_a_folder_of_its_own(tmp_path):
    digits, kernels = draw_digits(), make_kernels()
    assert (digits.shape, kernels.shape) == ((5, 1, 28, 28), (8, 1, 4, 4))
    assert (digits.dtype, digits.min()) == (np.uint8, 0)
    assert len({array.tobytes() for array in (*digits, *kernels)}) == 5 + 8
    call_script("part2_conv.py", cwd=tmp_path)
    made = {path.name for path in (tmp_path / "results" / "synthetic").iterdir()}
    assert made == {"part2.png", "part2_kernels.png", "part2_out.npy", "part2.json"}


def test_what_the_script_says_and_keeps_also_of_values_that_are_not_finite(tmp_path):
    """A kernel of 2 x 2 sees one pixel at 4 places and that of a corner at 1, of 2 x 25."""
    images, kernel = np.ones((2, 1, 6, 6)), np.full((1, 1, 2, 2), 0.1)
    images[0, 0, 2, 2], images[1, 0, 0, 0] = np.nan, -np.inf
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "kernel.npy", kernel)
    files = ("--samples", "images.npy", "--kernel", "kernel.npy")
    said = call_script("part2_conv.py", *files, cwd=tmp_path).stdout
    results = tmp_path / "results"
    assert "not finite: 5 of 50 values" in said
    assert 0 <= json.loads((results / "part2.json").read_text())["largest_difference"] < 1e-12
    out = np.load(results / "part2_out.npy")
    assert np.count_nonzero(~np.isfinite(out)) == 5
    out[1, 0, 3, 1] += 5
    assert compare_with_torch(images, kernel, out) == pytest.approx(5)
    (results / "part2.png").unlink()
    call_script("part2_conv.py", "--plot-only", cwd=tmp_path)
    assert (results / "part2.png").exists()
    bad = call_script("part2_conv.py", "--samples", "kernel.npy", cwd=tmp_path, status=1)
    assert "(1, 1, 2, 2)" in bad.stderr  # smaller than the built-in kernels
