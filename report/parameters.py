"""Evaluate the formulas of question 1.4 for the number of parameters, layer by layer.

Written from the formulas in the report and not from models.py, so that each can check the other.
"""

from collections.abc import Sequence


def mlp_parameters(
    inputs: int, hidden: Sequence[int], outputs: int, without_bias: Sequence[int] = ()
) -> list[int]:
    """Return (H_(k-1) + b_k) H_k for every layer, the output layer last.

    `without_bias` names the layers k, counted from 1, whose b_k is 0 and not 1.
    """
    sizes = [inputs, *hidden, outputs]
    return [(sizes[k - 1] + (k not in without_bias)) * sizes[k] for k in range(1, len(hidden) + 2)]


def cnn_parameters(convolutions: Sequence[tuple[int, int, int]]) -> list[int]:
    """Return (H_k W_k C_(k-1) + 1) C_k for every convolution, then the prediction layer's number.

    convolutions: (kernel size H_k = W_k, filters C_k, size of the pooling behind it or 1). The
    input is 32x32x1. Pooling has no parameters, but shrinks the feature map that the prediction
    layer is connected to.
    """
    size, channels, counts = 32, 1, []
    for kernel, filters, pool in convolutions:
        counts.append((kernel * kernel * channels + 1) * filters)
        size, channels = (size - kernel + 1) // pool, filters
    return [*counts, (size * size * channels + 1) * 10]


PARAMETERS = {
    "mlp_1": mlp_parameters(32 * 32, [32], 10),
    "mlp_2": mlp_parameters(32 * 32, [32, 64], 10, without_bias=[2]),
    "cnn_3": cnn_parameters([(3, 16, 1), (5, 8, 2), (7, 16, 2)]),
    "cnn_4": cnn_parameters([(3, 16, 1), (3, 8, 1), (5, 16, 2), (5, 16, 2)]),
    "cnn_5": cnn_parameters([(3, 8, 1), (3, 16, 1), (3, 8, 1), (3, 16, 2), (3, 16, 1), (3, 8, 2)]),
}
