"""The formulas of question 1.4 for the number of parameters, layer by layer.

Written from the formulas in the report and not from models.py, so that each can check the other.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Conv(NamedTuple):
    """A valid convolution with stride 1, and the max-pooling behind it (1: none)."""

    height: int
    width: int
    filters: int
    pool: int = 1


def mlp_parameters(
    inputs: int, hidden: Sequence[int], outputs: int, without_bias: Sequence[int] = ()
) -> list[int]:
    """(H_(k-1) + b_k) H_k for every layer, the output layer last.

    `without_bias` names the layers k, counted from 1, whose b_k is 0 and not 1.
    """
    sizes = [inputs, *hidden, outputs]
    return [(sizes[k - 1] + (k not in without_bias)) * sizes[k] for k in range(1, len(hidden) + 2)]


def cnn_parameters(input_size: tuple[int, int, int], convs: Sequence[Conv], outputs: int):
    """(H_k W_k C_(k-1) + 1) C_k for every convolution, then the fully connected output layer.

    `input_size` is (height, width, channels). Pooling has no parameters, but shrinks the feature
    map that the output layer is connected to.
    """
    height, width, channels = input_size
    counts = []
    for conv in convs:
        counts.append((conv.height * conv.width * channels + 1) * conv.filters)
        height = (height - conv.height + 1) // conv.pool
        width = (width - conv.width + 1) // conv.pool
        channels = conv.filters
    return [*counts, (height * width * channels + 1) * outputs]


GRAY = (32, 32, 1)
PARAMETERS = {
    "mlp_1": mlp_parameters(32 * 32, [32], 10),
    "mlp_2": mlp_parameters(32 * 32, [32, 64], 10, without_bias=[2]),
    "cnn_3": cnn_parameters(GRAY, [Conv(3, 3, 16), Conv(5, 5, 8, 2), Conv(7, 7, 16, 2)], 10),
    "cnn_4": cnn_parameters(
        GRAY, [Conv(3, 3, 16), Conv(3, 3, 8), Conv(5, 5, 16, 2), Conv(5, 5, 16, 2)], 10
    ),
    "cnn_5": cnn_parameters(
        GRAY,
        [Conv(3, 3, 8), Conv(3, 3, 16), Conv(3, 3, 8), Conv(3, 3, 16, 2),
         Conv(3, 3, 16), Conv(3, 3, 8, 2)],
        10,
    ),
}  # fmt: skip
