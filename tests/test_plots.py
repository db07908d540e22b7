"""The pictures: how they are saved, and that their lines are the numbers that they are said to be.

Where a panel stands and how it looks is left to the eye.
"""

import inspect
from functools import partial
from itertools import chain

from experiments import plots

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import drawn
from helpers_records import record
from PIL import Image

import utils

RANDOM = np.random.default_rng(0)


def curve(start, points=10):
    """Ten points are fewer than a window of smoothing, so they are drawn as they are."""
    return (start + np.arange(points) ** 2 / 10).tolist()


def part3_result(k, points=10):
    return {
        "name": f"net_{k}", "test_acc": 50.0 + k, "loss_curve": curve(1 + k, points),
        "train_acc_curve": curve(20 + k, points), "val_acc_curve": curve(10 + k, points),
    }  # fmt: skip


def part4_result(k):
    starts = {"relu_loss": 1, "sigmoid_loss": 3, "relu_grad": 5, "sigmoid_grad": 7}
    return {"name": f"net_{k}"} | {f"{key}_curve": curve(s + k / 2) for key, s in starts.items()}


PART3, PART4 = [part3_result(k) for k in range(5)], [part4_result(k) for k in range(5)]
PART5 = {"name": "net"} | {
    f"{key}_curve_{suffix}": curve(start + k)
    for key, start in (("loss", 1), ("val_acc", 10))
    for k, suffix in enumerate(("1", "01", "001"))
}
CALLS = {  # each helper with what comes before the folder
    "part2Plots": lambda **place: utils.part2Plots(RANDOM.random((5, 8, 25, 25)), **place),
    "part3Plots": lambda **place: utils.part3Plots(PART3, **place),
    "part4Plots": lambda **place: utils.part4Plots(PART4, **place),
    "part5Plots": lambda **place: utils.part5Plots(PART5, **place),
    "visualizeWeights": lambda **place: utils.visualizeWeights(
        RANDOM.normal(size=(32, 1024)), **place
    ),
    "visualizeDataset": lambda **place: utils.visualizeDataset(
        RANDOM.random((90, 32, 32)), np.arange(90) % 3, **place
    ),
}
NAMES = {"visualizeWeights": "weights", "visualizeDataset": "dataset"}  # of the others: the helper


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


# ---- Saving


@pytest.mark.parametrize("filename", ["figure", None])
@pytest.mark.parametrize("helper", CALLS)
def test_helper_saves_one_sharp_picture_and_closes_it(helper, filename, tmp_path, monkeypatch):
    """Without a name it has its default one."""
    folder = tmp_path / "new" / "folder"
    if filename:
        CALLS[helper](save_dir=str(folder), filename=filename)
    else:
        monkeypatch.setitem(utils.STYLE, "savefig.dpi", 20)  # fast
        CALLS[helper](save_dir=str(folder))
    (path,) = folder.iterdir()
    assert path.name == f"{filename or NAMES.get(helper, helper)}.png"
    image = Image.open(path)
    assert image.width >= 1100 or not filename
    assert len(np.unique(np.asarray(image.convert("L")))) > 10  # not an empty page
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ["../outside", "a/b", "/tmp/outside"])
def test_nothing_is_written_outside_the_folder(name, tmp_path):
    with pytest.raises(ValueError, match="filename"):
        CALLS["visualizeWeights"](save_dir=str(tmp_path / "folder"), filename=name)
    assert list(tmp_path.iterdir()) == []
    assert plt.get_fignums() == []


@pytest.mark.parametrize("folder", ["file", ""])
def test_an_error_names_the_picture_and_leaves_nothing(folder, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "figure.png").mkdir()
    before = set(tmp_path.iterdir())
    with pytest.raises(OSError, match=r"figure\.png") as raised:
        CALLS["visualizeWeights"](save_dir=str(tmp_path / folder), filename="figure")
    assert raised.value.filename == str(tmp_path / folder / "figure.png")
    assert set(tmp_path.iterdir()) == before
    assert plt.get_fignums() == []


def test_figure_of_the_runs_is_saved_and_closed(tmp_path):
    plots.plot_spread({"net": FOUR_RUNS}, "part 3", tmp_path / "figure.png")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    assert Image.open(tmp_path / "figure.png").width >= 1100
    assert plt.get_fignums() == []


def test_no_window_is_opened_without_a_display(monkeypatch):
    assert matplotlib.get_backend().lower() == "agg"
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a window"))
    drawn(monkeypatch, lambda: utils.part3Plots(PART3, show_plot=True))


@pytest.mark.parametrize(
    ("helper", "signature"),
    [
        ("part2Plots", "(out, nmax=64, save_dir='', filename='')"),
        ("part3Plots", "(results, save_dir='', filename='', show_plot=True)"),
        ("part4Plots", "(results, save_dir='', filename='', show_plot=True)"),
        ("part5Plots", "(result, save_dir='', filename='', show_plot=True)"),
        ("visualizeWeights", "(weights, save_dir, filename='weights')"),
        ("visualizeDataset",
         "(images, labels, save_dir, filename='dataset', num_samples_per_class=8)"),
    ],
)  # fmt: skip
def test_helper_has_the_arguments_of_the_course(helper, signature):
    parameters = inspect.signature(getattr(utils, helper)).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    assert str(inspect.Signature(plain)) == signature


# ---- Curves


def panels_with(figure, y, x=None):
    """The titles of the panels in which a line has these values, and the colours of such lines."""

    def same(one, other):
        return len(one) == len(other) and np.allclose(one, other)

    lines = [
        (axes.get_title(), line.get_color())
        for axes in figure.axes
        for line in axes.get_lines()
        if same(line.get_ydata(), y) and (x is None or same(line.get_xdata(), x))
    ]
    return tuple({pair[k] for pair in lines} for k in (0, 1))


def colors(figure):
    """The colour of each name in the legends of a figure."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    handles = chain.from_iterable(legend.legend_handles for legend in legends if legend)
    return {handle.get_label(): handle.get_color() for handle in handles}


def test_part3_shows_each_curve_in_its_panel_and_colour(monkeypatch):
    results = PART3[:2]
    figure = drawn(monkeypatch, lambda: utils.part3Plots(results))
    for result in results:
        color = {colors(figure)[result["name"]]}
        train_acc, val_acc = (np.array(result[f"{key}_acc_curve"]) for key in ("train", "val"))
        assert panels_with(figure, result["loss_curve"]) == ({"training loss"}, color)
        for key in ("train", "val"):
            (title,), found = panels_with(figure, result[f"{key}_acc_curve"])
            assert "accuracy" in title
            assert found == color
        (title,), found = panels_with(figure, [result["test_acc"]], [results.index(result)])
        assert "test" in title
        assert found == color
        (title,), found = panels_with(figure, train_acc - val_acc, train_acc)
        assert "minus validation" in title
        assert found == color


def test_part3_names_networks_in_titles_and_ticks_without_what_the_legend_says(monkeypatch):
    """A demo's names are so long that they would cover each other."""
    results = [result | {"name": f"{result['name']} (synthetic, quick)"} for result in PART3]
    figure = drawn(monkeypatch, lambda: utils.part3Plots(results))
    assert set(colors(figure)) >= {result["name"] for result in results}
    ticks = [label.get_text() for axes in figure.axes for label in axes.get_xticklabels()]
    assert "net_4" in ticks
    assert not any("quick" in text for text in (*ticks, *(a.get_title() for a in figure.axes)))


def test_part4_shows_each_curve_in_its_panel_and_colour(monkeypatch):
    figure = drawn(monkeypatch, lambda: utils.part4Plots(PART4[:2]))
    for result in PART4[:2]:
        for activation, name in (("relu", "ReLU"), ("sigmoid", "sigmoid")):
            for key, word in (("loss", "loss"), ("grad", "gradient")):
                (title,), found = panels_with(figure, result[f"{activation}_{key}_curve"])
                assert word in title
                assert name in title
                assert found == {colors(figure)[result["name"]]}
    scales = {axes.get_yscale() for axes in figure.axes if "gradient" in axes.get_title()}
    assert scales == {"log"}


def test_part5_shows_each_curve_in_its_panel_and_colour(monkeypatch):
    for result in (PART5, [PART5]):  # the course's helper is given a list
        figure = drawn(monkeypatch, lambda result=result: utils.part5Plots(result))
        for suffix in ("1", "01", "001"):
            color = {colors(figure)[f"learning rate 0.{suffix}"]}
            for key, word in (("loss", "loss"), ("val_acc", "accuracy")):
                (title,), found = panels_with(figure, PART5[f"{key}_curve_{suffix}"])
                assert word in title
                assert found == color


def test_curves_differ_in_colour_line_style_and_marker(monkeypatch):
    figure = drawn(monkeypatch, lambda: utils.part3Plots(PART3))
    strong = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 2]
    looks = [(line.get_color(), line.get_marker(), str(line._dash_pattern)) for line in strong]
    assert [len(set(column)) for column in zip(*looks, strict=True)] == [5, 5, 5]


@pytest.mark.parametrize(("points", "unit", "end"), [(1350, "epoch", 15), (120, "step", 1200)])
def test_axis_counts_the_epochs_of_a_full_training_and_else_steps(points, unit, end, monkeypatch):
    figure = drawn(monkeypatch, lambda: utils.part3Plots([part3_result(0, points)]))
    for axes in figure.axes[:2]:
        assert axes.get_xlabel() == unit
        assert axes.get_lines()[0].get_xdata()[-1] == pytest.approx(end)


@pytest.mark.parametrize(("scale", "percent"), [(1, True), (0.01, False)])
def test_accuracies_from_0_to_1_are_not_called_percent(scale, percent, monkeypatch):
    result = {k: v if k == "name" else (np.array(v) * scale).tolist() for k, v in PART3[0].items()}
    figure = drawn(monkeypatch, lambda: utils.part3Plots([result]))
    labels = {axes.get_ylabel() for axes in figure.axes if "accuracy" in axes.get_ylabel()}
    assert labels
    assert {"%" in label for label in labels} == {percent}


def texts(axes):
    return "\n".join(text.get_text() for text in axes.texts)


def test_gradients_that_a_log_axis_cannot_show_are_named(monkeypatch):
    dead = PART4[0] | {"name": "dead", "relu_grad_curve": [0.0] * 10}
    figure = drawn(monkeypatch, lambda: utils.part4Plots([PART4[1], dead]))
    naming = {a.get_title(): texts(a) for a in figure.axes if "zero" in texts(a)}
    ((title, text),) = naming.items()
    assert "ReLU" in title
    assert "dead" in text
    assert "net_1" not in text


def test_of_signed_gradients_the_magnitude_is_shown(monkeypatch):
    signed = PART4[0] | {"relu_grad_curve": (-np.array(curve(9))).tolist()}
    for result, says_so in ((signed, True), (PART4[0], False)):
        figure = drawn(monkeypatch, lambda result=result: utils.part4Plots([result]))
        (title,), _ = panels_with(figure, np.abs(result["relu_grad_curve"]))
        assert "gradient" in title
        assert any("signed" in axes.get_ylabel() for axes in figure.axes) == says_so


@pytest.mark.parametrize(
    ("first", "scale"), [(3.0, "linear"), (1e6, "log"), (float("inf"), "linear")]
)
def test_a_huge_first_loss_does_not_hide_the_others(first, scale, monkeypatch):
    result = PART4[0] | {"relu_loss_curve": [first, *PART4[0]["relu_loss_curve"][1:]]}
    figure = drawn(monkeypatch, lambda: utils.part4Plots([result]))
    (axes,) = (axes for axes in figure.axes if axes.get_title() == "training loss, ReLU")
    assert axes.get_yscale() == scale


def test_infinite_and_missing_values_leave_gaps(monkeypatch):
    broken = [1.0] * 50 + [float("nan"), float("inf")] * 50
    result = PART3[0] | {"loss_curve": broken, "val_acc_curve": [float("nan")] * 150,
                         "train_acc_curve": [10.0] * 150}  # fmt: skip
    figure = drawn(monkeypatch, lambda: utils.part3Plots([result]))
    figure.draw_without_rendering()
    strong = next(line for line in figure.axes[0].get_lines() if line.get_linewidth() == 2)
    assert strong.get_ydata()[:50] == pytest.approx(1.0)
    assert np.isnan(strong.get_ydata()[50:]).all()


def test_curves_are_smoothed_over_a_thirtieth_of_their_length():
    noise = np.tile([0.0, 2.0], 300)
    assert utils._smooth(noise)[100:500] == pytest.approx(1.0, abs=0.1)
    assert utils._smooth(noise)[0] == 0  # curves are steep at the start
    assert utils._smooth(np.arange(600.0))[:580] == pytest.approx(np.arange(580))


# ---- Images


def images_in(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_part2_shows_at_most_nmax_maps_in_rows_of_images(monkeypatch):
    out = RANDOM.random((5, 8, 25, 25))
    figure = drawn(monkeypatch, lambda: utils.part2Plots(torch.from_numpy(out), nmax=16))
    shown = images_in(figure)
    assert len(shown) == 16
    np.testing.assert_array_equal(shown[9].get_array(), out[1, 1])
    assert len({image.get_clim() for image in shown}) == 1


def test_part2_shows_images_and_kernels_beside_the_maps(monkeypatch):
    images, kernels, out = (RANDOM.normal(size=(n, m, 4, 4)) for n, m in ((2, 1), (3, 1), (2, 3)))
    axes = axes_of(monkeypatch, plots.plot_convolution, images, kernels, out)
    shown = np.array([panel.images[0].get_array() for panel in axes if panel.images])
    np.testing.assert_array_equal(shown[:3], kernels[:, 0])
    np.testing.assert_array_equal(shown[3], images[0, 0])
    np.testing.assert_array_equal(shown[8:], out[1])
    limits = {panel.images[0].get_clim() for panel in axes[5:8]}  # of the first row of maps
    assert limits == {(-abs(out).max(), abs(out).max())}


@pytest.mark.parametrize("shape", [(32, 1024), (16, 1, 3, 3), (8, 1, 4, 5)])
def test_weights_are_shown_on_one_gray_scale_around_zero(shape, monkeypatch):
    weights = RANDOM.normal(size=shape)
    figure = drawn(monkeypatch, lambda: utils.visualizeWeights(weights, ""))
    shown = images_in(figure)
    assert len(shown) == shape[0]
    assert {image.get_cmap().name for image in shown} == {"gray"}
    ((low, high),) = {image.get_clim() for image in shown}
    assert low == -high
    assert 0.9 < np.mean(abs(weights) <= high) <= 1
    np.testing.assert_array_equal(shown[1].get_array().ravel(), weights[1].ravel())


@pytest.mark.parametrize("shape", [(32, 100), (8, 3, 3, 3), (5,)])
def test_other_shapes_are_refused(shape, tmp_path):
    with pytest.raises(ValueError, match="weights have shape"):
        utils.visualizeWeights(np.zeros(shape), str(tmp_path))
    if len(shape) != 4:
        with pytest.raises(ValueError, match="out has shape"):
            utils.part2Plots(np.zeros(shape), save_dir=str(tmp_path))


def test_dataset_shows_the_samples_of_each_class_in_its_row(monkeypatch):
    images, labels = RANDOM.random((39, 32, 32)), np.arange(39) % 10  # of the last class 3
    figure = drawn(monkeypatch, lambda: utils.visualizeDataset(images, labels, "", "x", 4))
    shown = [image.get_array() for image in images_in(figure)]
    assert len(shown) == 40
    np.testing.assert_array_equal(shown[4 * 7 + 2], images[27])
    assert np.ma.masked_invalid(shown[-1]).mask.all()


# ---- The spread over runs, and the schedules

# Four runs, two epochs of two points: means 1, 1, 1, 5, and 20 more in the second epoch
POINTS = np.array([[mean - 1, mean + 1, mean + 19, mean + 21] for mean in (1, 1, 1, 5)])
FOUR_RUNS = [
    record(50 + k, {"epochs": 2}, loss_curve=points, val_acc_curve=points + 40,
           train_acc_curve=points + 50, grad_curve=points + 10)
    for k, points in enumerate(POINTS)
]  # fmt: skip


def band(axes):
    """The epochs of a line, its values, and the edges of its band at each of them."""
    epochs, centre = axes.get_lines()[0].get_data()
    corners = {(x, round(y, 6)) for x, y in axes.collections[0].get_paths()[0].vertices.tolist()}
    edges = [sorted(y for x, y in corners if x == epoch) for epoch in epochs]
    return epochs.tolist(), centre.tolist(), edges


def axes_of(monkeypatch, function, *arguments):
    call = partial(function, *arguments, "unused")
    return drawn(monkeypatch, call, "experiments.plots").axes


def test_part3_spread_is_mean_and_standard_deviation_of_the_means_over_epochs(monkeypatch):
    panels = axes_of(monkeypatch, plots.plot_spread, {"net": FOUR_RUNS}, "part 3")
    loss, accuracy, gap, runs = panels
    for axes, start in ((loss, 0), (accuracy, 40)):
        epochs, means, edges = band(axes)
        assert epochs == [0.5, 1.5]
        assert means == pytest.approx([start + 2, start + 22])
        assert edges == [[start, start + 4], [start + 20, start + 24]]
    gaps, points = (axes.get_lines()[0].get_xydata().tolist() for axes in (gap, runs))
    assert gaps == [[52, 10], [72, 10]]  # training accuracy of each epoch, and minus validation
    assert points == [[71, 50], [71, 51], [71, 52], [75, 53]]  # of the last epoch, and test
    assert any("4 runs" in name for name in colors(loss.figure))


def test_spreads_are_median_and_range_in_part_4_and_mean_and_range_in_part_5(monkeypatch):
    four, one = FOUR_RUNS, FOUR_RUNS[3:]
    relu_loss, sigmoid_loss, relu_grad, sigmoid_grad = axes_of(
        monkeypatch, plots.plot_activation_spread,
        {("net", "relu"): four, ("net", "sigmoid"): one}, "part 4",
    )  # fmt: skip
    loss, accuracy = axes_of(
        monkeypatch, plots.plot_learning_rates, "net", {"1": four, "01": one}, {"1": 0.1}
    )
    medians, means = [1, 21], [2, 22]
    for axes, start, line in (
        (relu_loss, 0, medians), (relu_grad, 10, medians), (loss, 0, means), (accuracy, 40, means),
    ):  # fmt: skip
        edges = [[start + 1, start + 5], [start + 21, start + 25]]
        assert band(axes) == ([0.5, 1.5], [start + y for y in line], edges)
    for axes, start in ((sigmoid_loss, 0), (sigmoid_grad, 10)):
        assert band(axes)[1] == [start + 5, start + 25]


def test_schedules_are_marked_at_the_end_of_the_epochs_that_they_drop_after(monkeypatch):
    rates = (0.1, 0.01, 0.001)
    kinds = {"1": (0, ()), "one drop": (10, (3,)), "two drops": (20, (3, 7)), "Adam": (30, ())}
    finished = {
        key: [record(config={"epochs": 10, "learning_rates": rates[: len(drops) + 1],
                             "drop_epochs": drops}, val_acc_curve=np.repeat(np.arange(10), 2) + y)
              for y in (k - 1, k - 1, k + 2)]
        for key, (k, drops) in kinds.items()
    }  # fmt: skip
    axes, zoomed = axes_of(monkeypatch, plots.plot_schedules, "net", finished)
    upright = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in upright] == [3, 7]
    assert [text.xy[0] for text in zoomed.texts] == [3, 7]
    assert axes.get_xlim() == (0, 10)
    ends = [line.get_xydata()[-1].tolist() for line in axes.get_lines() if line not in upright]
    assert sorted(ends) == [[9.5, 9 + k] for k, _ in kinds.values()]
    assert zoomed.get_xlim() == (2, 10)
    assert min(min(line.get_xdata()) for line in zoomed.get_lines()) == 2.5
