"""my_conv2d over shapes, memory layouts, dtypes and values that hypothesis thinks of."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from part2_conv import my_conv2d

pytestmark = pytest.mark.filterwarnings("ignore:invalid value")  # inf - inf, as asked for
DTYPES = [np.dtype(code) for code in "?bhiqBHIQefd"]  # bool to float64
MANY = settings(max_examples=300, deadline=None, derandomize=True, database=None)


def conv_by_loops(input, kernel):
    """The definition, one product at a time."""
    (n, c, height, width), (o, _, h, w) = input.shape, kernel.shape
    out = np.zeros((n, o, height - h + 1, width - w + 1))
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
def laid_out(draw, values):
    """The array `values`, or a part of it, in some memory layout: any strides, maybe read-only."""
    layout = draw(st.sampled_from(["C", "F", "reversed", "every second", "swapped", "broadcast"]))
    if layout == "F":
        values = np.asfortranarray(values)
    elif layout == "reversed":
        axes = draw(st.sets(st.integers(0, 3), min_size=1))
        values = values[tuple(slice(None, None, -1 if a in axes else 1) for a in range(4))]
    elif layout == "every second":
        wide = np.zeros([2 * length for length in values.shape], values.dtype)
        wide[::2, ::2, ::2, ::2] = values
        values = wide[::2, ::2, ::2, ::2]
    elif layout == "swapped":
        values = np.ascontiguousarray(values.transpose(2, 0, 3, 1)).transpose(1, 3, 0, 2)
    elif layout == "broadcast":
        axis = draw(st.integers(0, 3))
        values = np.broadcast_to(np.take(values, [0], axis), values.shape)
    if draw(st.booleans()):
        values.flags.writeable = False
    return values


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
        arrays.append(draw(laid_out(values)))
    return arrays


@MANY
@given(operands())
def test_is_the_definition_for_every_layout_and_dtype(arrays):
    out = my_conv2d(*arrays)
    expected = np.result_type(*arrays)
    assert out.dtype == (expected if expected.kind == "f" else np.float64)
    np.testing.assert_array_equal(out, conv_by_loops(*arrays))


@MANY
@given(operands(dtypes=DTYPES[-2:]))
def test_equals_torch(arrays):
    contiguous = (torch.from_numpy(a.copy(order="C")).double() for a in arrays)
    np.testing.assert_array_equal(my_conv2d(*arrays), torch.conv2d(*contiguous).numpy())


@MANY
@given(operands())
def test_inputs_are_neither_modified_nor_shared(arrays):
    before = [a.copy() for a in arrays]
    out = my_conv2d(*arrays)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
        assert not np.shares_memory(out, array)
    assert out.flags.writeable


@MANY
@given(operands(st.sampled_from([0.0, 1.0, -2.0, np.nan, np.inf, -np.inf]), DTYPES[-3:]))
def test_nan_and_infinity_reach_the_outputs_that_see_them_and_no_others(arrays):
    np.testing.assert_array_equal(my_conv2d(*arrays), conv_by_loops(*arrays))


@MANY
@given(operands(), st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 2**32 - 1))
def test_is_linear_in_both_arguments(arrays, a, b, seed):
    x, k = (array.astype(np.float64) for array in arrays)
    generator = np.random.default_rng(seed)
    y, m = (generator.integers(-4, 5, array.shape).astype(np.float64) for array in arrays)
    np.testing.assert_array_equal(
        my_conv2d(a * x + b * y, k), a * my_conv2d(x, k) + b * my_conv2d(y, k)
    )
    np.testing.assert_array_equal(
        my_conv2d(x, a * k + b * m), a * my_conv2d(x, k) + b * my_conv2d(x, m)
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64], ids=str)
def test_agrees_with_torch_on_the_samples_of_its_own_test_suite(dtype):
    """Those of nn.functional.conv2d with default settings; no bias, and images in batches."""
    from torch.testing._internal.common_methods_invocations import op_db  # takes seconds

    (conv2d,) = (op for op in op_db if op.name == "nn.functional.conv2d")
    tried = 0
    for sample in conv2d.sample_inputs("cpu", dtype):
        weight, bias = (*sample.args, None)[:2]
        if bias is None and not sample.kwargs and sample.input.ndim == weight.ndim == 4:
            out = my_conv2d(sample.input.numpy(), weight.numpy())
            torch.testing.assert_close(torch.from_numpy(out), conv2d(sample.input, weight))
            tried += 1
    assert tried
