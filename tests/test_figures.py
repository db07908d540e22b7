"""The lines of the figures are the numbers that they are said to be."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from conftest import drawn
from helpers_records import record

import utils
from figures import plot_schedules, plot_spread


def curve(start):
    """Ten points: fewer than a window of smoothing, so they are drawn as they are."""
    return [start + point**2 for point in range(10)]


def values(lines):
    """The y of each line that has several points."""
    return [line.get_ydata().tolist() for line in lines if len(line.get_ydata()) == 10]


def test_part3_shows_each_curve_in_its_panel(monkeypatch):
    results = [
        {"name": f"net_{k}", "loss_curve": curve(k), "train_acc_curve": curve(10 + k),
         "val_acc_curve": curve(20 + k), "test_acc": 50.0 + k}
        for k in range(2)
    ]  # fmt: skip
    figure = drawn(monkeypatch, lambda: utils.part3Plots(results))
    loss, accuracies, test, validation = (axes.get_lines() for axes in figure.axes)
    for k in range(2):
        assert values(loss)[2 * k :][:2] == [curve(k)] * 2  # pale and strong
        assert values(accuracies)[4 * k :][:4] == [curve(10 + k)] * 2 + [curve(20 + k)] * 2
        x, y = validation[k].get_data()
        assert (x.tolist(), y.tolist()) == (curve(10 + k), curve(20 + k))
        assert np.ravel(test[k].get_data()).tolist() == [curve(10 + k)[-1], 50.0 + k]
    plt.close(figure)


def test_part4_shows_each_curve_in_its_panel(monkeypatch):
    result = {"name": "net", "relu_loss_curve": curve(1), "sigmoid_loss_curve": curve(2),
              "relu_grad_curve": curve(3), "sigmoid_grad_curve": curve(4)}  # fmt: skip
    figure = drawn(monkeypatch, lambda: utils.part4Plots([result]))
    loss, gradient = (axes.get_lines() for axes in figure.axes[:2])
    assert values(loss) == [curve(1)] * 2 + [curve(2)] * 2
    assert values(gradient) == [curve(3)] * 2 + [curve(4)] * 2
    plt.close(figure)


def test_part5_shows_each_curve_in_its_panel(monkeypatch):
    result = {"name": "net"}
    for k, suffix in enumerate(("1", "01", "001")):
        result |= {f"loss_curve_{suffix}": curve(k), f"val_acc_curve_{suffix}": curve(10 + k)}
    figure = drawn(monkeypatch, lambda: utils.part5Plots(result))
    loss, accuracy = (axes.get_lines() for axes in figure.axes[:2])
    assert values(loss)[::2] == [curve(0), curve(1), curve(2)]
    assert values(accuracy)[::2] == [curve(10), curve(11), curve(12)]
    plt.close(figure)


def test_spread_is_mean_and_standard_deviation_of_the_means_over_epochs(monkeypatch):
    """Four runs, two epochs of two points: means 1, 1, 1, 5, and 20 more in the second epoch."""
    loss = [[mean - 1, mean + 1, mean + 19, mean + 21] for mean in (1, 1, 1, 5)]
    records = [
        record(config={"epochs": 2}, loss_curve=points, val_acc_curve=np.add(points, 40))
        for points in loss
    ]
    figure = drawn(
        monkeypatch, lambda: plot_spread({"net": records}, "part 3", "unused"), "figures"
    )
    for axes, start in zip(figure.axes, (0, 40), strict=True):
        (line,) = axes.get_lines()
        assert line.get_xdata().tolist() == [0.5, 1.5]
        assert line.get_ydata().tolist() == pytest.approx([start + 2, start + 22])
        (band,) = axes.collections
        corners = {(x, round(y, 6)) for x, y in band.get_paths()[0].vertices.tolist()}
        assert corners == {
            (0.5, start), (0.5, start + 4), (1.5, start + 20), (1.5, start + 24),
        }  # fmt: skip
    plt.close(figure)


def test_schedules_have_a_line_at_the_end_of_the_epochs_that_they_drop_after(monkeypatch):
    rates, accuracies = (0.1, 0.01, 0.001), np.linspace(10, 60, 20)
    finished = {
        name: [record(config={"epochs": 10, "learning_rates": rates[: len(drops) + 1],
                              "drop_epochs": drops}, val_acc_curve=accuracies)]
        for name, drops in (("1", ()), ("one drop", (3,)), ("two drops", (3, 7)))
    }  # fmt: skip
    figure = drawn(monkeypatch, lambda: plot_schedules("net", finished, [], "unused"), "figures")
    (axes,) = figure.axes
    upright = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in upright] == [3, 7]
    assert [text.xy[0] for text in axes.texts] == [3, 7]
    assert axes.get_xlim() == (0, 10)
    plt.close(figure)
