"""The pictures: they show the numbers handed in, on true axes, whatever the numbers are.

How they look is left to the eye. A warning is an error here.
"""

import inspect
import os
import subprocess
import sys
from itertools import chain, product
from pathlib import Path

import helpers_records
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

import utils
from experiments import plots

pytestmark = pytest.mark.filterwarnings("error")
PATH = Path("figure.png")
RANDOM = np.random.default_rng(0)
NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def sandbox(tmp_path, monkeypatch):
    """Small pictures in a folder of their own, and no figure left open."""
    monkeypatch.chdir(tmp_path)
    for module in (utils, plots):
        monkeypatch.setitem(module.STYLE, "savefig.dpi", 30)
        monkeypatch.setitem(module.STYLE, "figure.constrained_layout.use", False)  # takes long
    yield
    plt.close("all")


def drawn(function, *arguments):
    """The figure that a function draws and saves, still open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plt, "close", lambda figure: None)
        function(*arguments)
    return plt.gcf()


def curve(start, points=10):
    """Ten points are fewer than a window of smoothing, so they are drawn as they are."""
    return (start + np.arange(points) ** 2 / 10).tolist()


def part3_result(k=0, points=10, **further):
    starts = {"loss_curve": 1, "train_acc_curve": 20, "val_acc_curve": 10}
    curves = {key: curve(start + k, points) for key, start in starts.items()}
    return {"name": f"net_{k}", "test_acc": 50.0 + k} | curves | further


def part4_result(k=0, points=10, activations=("relu", "sigmoid"), **further):
    keys = [f"{a}_{kind}_curve" for a in activations for kind in ("loss", "grad")]
    curves = {key: curve(1 + 2 * i + k / 2, points) for i, key in enumerate(keys)}
    return {"name": f"net_{k}"} | curves | further


def part5_result(_=0, points=10, suffixes=("1", "01", "001"), **further):
    keys = [f"{kind}_curve_{suffix}" for kind in ("loss", "val_acc") for suffix in suffixes]
    return {"name": "net"} | {k: curve(1 + 2 * i, points) for i, k in enumerate(keys)} | further


def record(epochs, test_acc=50.0, rates=(0.1,), drops=(), **curves):
    config = {"epochs": epochs, "learning_rates": rates, "drop_epochs": drops}
    return helpers_records.record(test_acc, config, **curves)


def found(figure, y, x=None):
    """The titles of the panels that have a line through these points, and the lines' colours."""
    hits = [
        (axes.get_title(), line.get_color()) for axes in figure.axes for line in axes.get_lines()
        if len(line.get_ydata()) == len(y) and np.allclose(line.get_ydata(), y)
        and (x is None or np.allclose(line.get_xdata(), x))
    ]  # fmt: skip
    return tuple({hit[k] for hit in hits} for k in (0, 1))


def named(figure):
    """The colour, line style and marker of each name in the legends of a figure."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    handles = chain.from_iterable(legend.legend_handles for legend in legends if legend)
    return {h.get_label(): (h.get_color(), str(h._dash_pattern), h.get_marker()) for h in handles}


# ---- The course's helpers


SIGNATURES = """\
part2Plots(out, nmax=64, save_dir='', filename='')
part3Plots(results, save_dir='', filename='', show_plot=True)
part4Plots(results, save_dir='', filename='', show_plot=True)
part5Plots(result, save_dir='', filename='', show_plot=True)
visualizeWeights(weights, save_dir, filename='weights')
visualizeDataset(images, labels, save_dir, filename='dataset', num_samples_per_class=8)"""


@pytest.mark.parametrize("signature", SIGNATURES.splitlines())
def test_helper_has_the_arguments_of_the_course(signature):
    name, _ = signature.split("(")
    parameters = inspect.signature(getattr(utils, name)).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    assert f"{name}{inspect.Signature(plain)}" == signature


def test_part3_shows_each_curve_in_its_panel_and_colour():
    results = [part3_result(k) for k in range(2)]
    figure = drawn(utils.part3Plots, results)
    for k, result in enumerate(results):
        color = {named(figure)[result["name"]][0]}
        train_acc, val_acc = (np.array(result[f"{key}_acc_curve"]) for key in ("train", "val"))
        assert found(figure, result["loss_curve"]) == ({"training loss"}, color)
        assert found(figure, train_acc) == found(figure, val_acc) == ({"accuracy, net"}, color)
        assert found(figure, [k], [result["test_acc"]]) == ({"best test accuracy"}, color)
        gap, at = (train_acc - val_acc)[::-1], train_acc[::-1]
        assert found(figure, gap, at) == ({"training minus validation accuracy"}, color)


@pytest.mark.parametrize("activations", [("relu", "sigmoid"), ("relu", "sigmoid", "tanh")])
def test_part4_has_a_column_for_each_activation(activations):
    results = [part4_result(k, activations=activations) for k in range(2)]
    figure = drawn(utils.part4Plots, results)
    for result, name in product(results, activations):
        title, color = name.replace("relu", "ReLU"), {named(figure)[result["name"]][0]}
        assert found(figure, result[f"{name}_loss_curve"]) == ({f"training loss, {title}"}, color)
        titles = {f"gradient magnitude of the first layer, {title}"}
        assert found(figure, result[f"{name}_grad_curve"]) == (titles, color)


@pytest.mark.parametrize("suffixes", [("1", "01", "001"), ("1", "05", "01", "001")])
def test_part5_has_a_curve_for_each_learning_rate(suffixes):
    result = part5_result(suffixes=suffixes)
    for given in (result, [result]):  # the course's helper is given a list
        figure = drawn(utils.part5Plots, given)
        for suffix in suffixes:
            color = {named(figure)[f"learning rate 0.{suffix}"][0]}
            loss, acc = (result[f"{kind}_curve_{suffix}"] for kind in ("loss", "val_acc"))
            assert found(figure, loss) == ({"training loss of net"}, color)
            assert found(figure, acc) == ({"validation accuracy of net"}, color)


@pytest.mark.parametrize(
    ("helper", "results", "unit", "ends"),
    [
        (helper, [result(0, 27, epochs=30), result(1, 135, **further)], unit, ends)
        for helper, result in ((utils.part3Plots, part3_result), (utils.part4Plots, part4_result))
        for further, unit, ends in (({"epochs": 15}, "epoch", {30, 15}), ({}, "step", {270, 1350}))
    ]
    + [
        (utils.part5Plots, part5_result(0, 27, epochs=30), "epoch", {30}),
        (utils.part5Plots, part5_result(0, 1350), "step", {13500}),
    ],
)
def test_axis_counts_epochs_if_all_results_have_them_and_else_steps(helper, results, unit, ends):
    timed = [a for a in drawn(helper, results).axes if a.get_xlabel() in ("epoch", "step")]
    assert {axes.get_xlabel() for axes in timed} == {unit}
    for axes in timed:
        times = [line.get_xdata() for line in axes.get_lines() if len(line.get_xdata()) > 2]
        assert {t[-1] for t in times} == ends
        assert all(np.allclose(t, t[-1] * np.arange(1, len(t) + 1) / len(t)) for t in times)


@pytest.mark.parametrize("names", [["mlp_1", "cnn_6", "net_6"], [f"{c}_1" for c in "abcdefghij"]])
def test_any_number_of_architectures_can_be_told_apart(names):
    curves = {f"{kind}_curve": [1, 2] for kind in ("loss", "train_acc", "val_acc", "grad")}
    runs = {name: [record(2, **curves)] for name in names}
    pairs = {(name, "relu"): records for name, records in runs.items()}
    for figure in (
        drawn(utils.part3Plots, [part3_result() | {"name": name} for name in names]),
        drawn(utils.part4Plots, [part4_result() | {"name": name} for name in names]),
        drawn(plots.plot_spread, runs, "part 3", PATH),
        drawn(plots.plot_activation_spread, pairs, "part 4", PATH),
    ):
        looks = [look for label, look in named(figure).items() if label.split(" (")[0] in names]
        assert len(set(looks)) == len(looks) == len(names)


@pytest.mark.parametrize(("scale", "percent"), [(1, True), (0.01, False)])
def test_accuracies_from_0_to_1_are_not_called_percent(scale, percent):
    accuracies = {key: scale * np.array(v) for key, v in part3_result().items() if "acc" in key}
    figure = drawn(utils.part3Plots, [part3_result() | accuracies])
    labels = {axes.get_ylabel() for axes in figure.axes if "accuracy" in axes.get_ylabel()}
    assert {"%" in label for label in labels} == {percent}


def test_points_that_a_panel_cannot_show_are_counted():
    dead = part4_result(relu_grad_curve=[0.0] * 1000, sigmoid_loss_curve=[NAN] + [1.0] * 999)
    figure = drawn(utils.part4Plots, [dead, part4_result(1)])
    said = {(axes.get_title(), text.get_text()) for axes in figure.axes for text in axes.texts}
    assert {title: text for title, text in said if "net" in text} == {
        "gradient magnitude of the first layer, ReLU": "not on this axis:\nnet_0: all points zero",
        "training loss, sigmoid": "not on this axis:\nnet_0: 1 of 1,000 points not finite",
    }


@pytest.mark.parametrize(("first", "scale"), [(3.0, "linear"), (1e6, "log"), (INF, "linear")])
def test_a_huge_first_loss_does_not_hide_the_others(first, scale):
    losses = [first, *curve(1, 5)]
    runs = {"net": [record(6, loss_curve=losses, val_acc_curve=losses)]}
    for figure in (
        drawn(utils.part3Plots, [part3_result(loss_curve=losses)]),
        drawn(plots.plot_learning_rates, "net", runs, PATH),
    ):
        assert figure.axes[0].get_yscale() == scale


@pytest.mark.parametrize(("smallest", "ranges"), [(1e-6, 1), (1e-20, 2)])
def test_activations_have_one_scale_unless_that_would_flatten_a_curve(smallest, ranges):
    figure = drawn(utils.part4Plots, [part4_result(sigmoid_grad_curve=[smallest, 1.0])])
    runs = {("net", a): run(loss=[1], grad=[y]) for a, y in (("relu", 1), ("tanh", smallest))}
    spread = drawn(plots.plot_activation_spread, runs, "part 4", PATH)
    for axes, expected in ((figure.axes, ranges), (spread.axes, 1)):
        gradients = [panel.get_ylim() for panel in axes if panel.get_yscale() == "log"]
        assert (len(gradients), len(set(gradients))) == (2, expected)


def test_curves_are_smoothed_over_a_thirtieth_of_their_length():
    noise = np.tile([0.0, 2.0], 300)
    assert utils._smooth(noise)[100:500] == pytest.approx(1.0, abs=0.1)
    assert utils._smooth(noise)[0] == 0  # curves are steep at the start
    assert utils._smooth(np.arange(600.0))[:590] == pytest.approx(np.arange(590))


# ---- How runs vary, and the schedules

# Four runs, two epochs of two points: means 1, 1, 1, 5, and 20 more in the second epoch
POINTS = np.array([[mean - 1, mean + 1, mean + 19, mean + 21] for mean in (1, 1, 1, 5)])
FOUR_RUNS = [
    record(2, 50 + k, loss_curve=points, val_acc_curve=points + 40, train_acc_curve=points + 50,
           grad_curve=points + 10)
    for k, points in enumerate(POINTS)
]  # fmt: skip


def band(axes):
    """The epochs of a line, its values, and the edges of its band at each of them."""
    epochs, centre = axes.get_lines()[0].get_data()
    corners = {(x, round(y, 6)) for x, y in axes.collections[0].get_paths()[0].vertices.tolist()}
    edges = [sorted(y for x, y in corners if x == epoch) for epoch in epochs]
    return epochs.tolist(), centre.tolist(), edges


def test_a_line_is_the_mean_over_the_runs_and_its_band_their_range():
    spread = drawn(plots.plot_spread, {"net": FOUR_RUNS}, "part 3", PATH)
    pairs = {("net", activation): FOUR_RUNS for activation in ("relu", "sigmoid", "tanh")}
    activations = drawn(plots.plot_activation_spread, pairs, "part 4", PATH)
    rates = drawn(plots.plot_learning_rates, "net", {"net": FOUR_RUNS}, PATH)
    for figure, starts in ((spread, [0, 40]), (activations, [0] * 3 + [10] * 3), (rates, [0, 40])):
        assert list(named(figure)) == ["net (4 runs)"]
        for axes, start in zip(figure.axes, starts, strict=False):
            edges = [[start + 1, start + 5], [start + 21, start + 25]]
            assert band(axes) == ([0.5, 1.5], [start + 2, start + 22], edges)
    points = spread.axes[2].get_lines()[0].get_xydata().tolist()
    assert points == [[71, 50], [71, 51], [71, 52], [75, 53]]  # of the last epoch, and test
    titles = [axes.get_title() for axes in activations.axes[:3]]
    assert titles == [f"part 4, {name}: training loss" for name in ("ReLU", "sigmoid", "tanh")]


def test_learning_rates_may_have_different_numbers_of_epochs_and_runs_that_diverge():
    long = [record(4, loss_curve=np.arange(8), val_acc_curve=np.arange(8))]
    broken = record(2, loss_curve=[7, INF, NAN, NAN], val_acc_curve=[1] * 4)
    finished = {"learning rate 0.1": [*FOUR_RUNS, broken], "learning rate 0.01": long}
    axes = drawn(plots.plot_learning_rates, "net", finished, PATH).axes[0]
    assert band(axes) == ([0.5, 1.5], [3, 22], [[1, 7], [21, 25]])
    assert axes.get_lines()[1].get_xydata()[-1].tolist() == [3.5, 6.5]


def test_schedules_are_marked_at_the_end_of_the_epochs_that_they_drop_after():
    rates = (0.1, 0.01, 0.001)
    kinds = {
        "constant": (0, ()),
        "one drop": (10, (3,)),
        "two drops": (20, (3, 7)),
        "Adam": (30, ()),
    }
    finished = {
        key: [record(10, rates=rates[: len(drops) + 1], drops=drops,
                     val_acc_curve=np.repeat(np.arange(10), 2) + y) for y in (k - 1, k - 1, k + 2)]
        for key, (k, drops) in kinds.items()
    }  # fmt: skip
    axes, zoomed = drawn(plots.plot_schedules, "net", finished, PATH).axes
    upright = [line for line in axes.get_lines() if len(set(line.get_xdata())) == 1]
    assert [line.get_xdata()[0] for line in upright] == [3, 7]
    assert [text.xy[0] for text in zoomed.texts] == [3, 7]
    assert axes.get_xlim() == (0, 10)
    curves = [line.get_xydata().tolist() for line in axes.get_lines() if line not in upright]
    assert [points[-1] for points in curves] == [[9.5, 9 + k] for k, _ in kinds.values()]
    assert [points[0][0] for points in curves] == [0.5, 2.5, 6.5, 0.5]  # what is common is not
    assert zoomed.get_xlim() == (2, 10)
    assert min(min(line.get_xdata()) for line in zoomed.get_lines()) == 2.5


# ---- Images


def images_in(figure):
    return [axes.images[0] for axes in figure.axes if axes.images]


def test_part2_shows_at_most_nmax_maps_in_rows_of_images():
    out = RANDOM.random((5, 8, 25, 25))
    shown = images_in(drawn(utils.part2Plots, torch.from_numpy(out), 16))
    np.testing.assert_array_equal([i.get_array() for i in shown], out[:2].reshape(16, 25, 25))
    assert len({image.get_clim() for image in shown}) == 1


def test_part2_shows_images_and_kernels_beside_the_maps():
    images, kernels, out = (RANDOM.normal(size=(n, m, 4, 4)) for n, m in ((2, 1), (3, 1), (2, 3)))
    shown = images_in(drawn(plots.plot_convolution, images, kernels, out, PATH))
    expected = [*kernels[:, 0], images[0, 0], *out[0], images[1, 0], *out[1]]
    np.testing.assert_array_equal([image.get_array() for image in shown], expected)
    limits = {image.get_clim() for image in shown[4:7]}  # of the first row of maps
    assert limits == {(-abs(out).max(), abs(out).max())}


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((32, 1024), (32, 32)), ((32, 256), (16, 16)), ((4, 300), (1, 300)),
        ((16, 1, 3, 3), (3, 3)), ((8, 1, 4, 5), (4, 5)), ((8, 3, 5, 5), (5, 5)),
        ((2, 1, 7, 7), (7, 7)),
    ],
)  # fmt: skip
def test_weights_of_any_first_layer_are_shown_on_one_gray_scale_around_zero(shape, shown):
    weights = RANDOM.normal(size=shape)
    images = images_in(drawn(utils.visualizeWeights, weights, ""))
    expected = weights.reshape(shape[0], -1, *shown)[:, 0]
    np.testing.assert_array_equal([image.get_array() for image in images], expected)
    ((low, high),) = {image.get_clim() for image in images}
    assert low == -high
    assert 0.9 < np.mean(abs(expected) <= high) <= 1


def test_maps_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="out has shape"):
        utils.part2Plots(np.zeros((8, 3, 3)))


def test_dataset_shows_the_samples_of_each_class_in_its_row():
    images, labels = RANDOM.random((39, 32, 32)), np.arange(39) % 10  # of the last class 3
    shown = images_in(drawn(utils.visualizeDataset, images, labels, "", "x", 4))
    assert len(shown) == 40
    np.testing.assert_array_equal(shown[4 * 7 + 2].get_array(), images[27])
    assert np.ma.masked_invalid(shown[-1].get_array()).mask.all()


# ---- Any numbers

KINDS = {
    "empty": [], "one point": [1.5], "constant": [2.25] * 6, "zero": [0.0] * 6, "NaN": [NAN] * 6,
    "infinite": [INF, 11.25, -INF, 12.25, INF, 13.25],
    "huge": [1e30, 3e38, 1e-38, 31.25, 32.25, 33.25],
    "diverged": [2.3e6, 0.0, 7e-8, 24.5, NAN, NAN],
}  # fmt: skip
DROPS = {"constant": (), "one drop": (1,), "two drops": (1, 2), "Adam": ()}


def pixels(values, *shape):
    """An array that repeats the values, or of no images."""
    return np.resize(values, shape) if values else np.zeros((0, *shape[1:]))


def run(**curves):
    return [record(6, **{f"{name}_curve": values for name, values in curves.items()})]


CALLS = {  # each function with the names of its curves or images, and how it is called with them
    "part2Plots": (["out"], lambda out: (utils.part2Plots, pixels(out, 2, 3, 5, 5))),
    "visualizeWeights": (["w"], lambda w: (utils.visualizeWeights, pixels(w, 3, 1, 3, 3), "")),
    "visualizeDataset": (["x"], lambda x: (
        utils.visualizeDataset, pixels(x, 3, 1024), [0, 1, 1][: 3 * len(x)], "", "dataset", 2)),
    "plot_convolution": (["x", "w"], lambda x, w: (
        plots.plot_convolution, pixels(x, 2, 1, 5, 5), pixels(w, 3, 1, 2, 2),
        np.zeros((2 * bool(x), 3 * bool(w), 4, 4)), PATH)),
    **{f"part{n}Plots": (
        [key for key in result() if "curve" in key],
        lambda n=n, result=result, **v: (getattr(utils, f"part{n}Plots"), [result() | v]))
       for n, result in ((3, part3_result), (4, part4_result), (5, part5_result))},
    "plot_spread": (["loss", "acc"], lambda loss, acc: (
        plots.plot_spread, {"net": run(loss=loss, train_acc=acc, val_acc=acc)}, "part 3", PATH)),
    "plot_activation_spread": ([*"abcd"], lambda a, b, c, d: (
        plots.plot_activation_spread,
        {("net", "relu"): run(loss=a, grad=b), ("net", "tanh"): run(loss=c, grad=d)}, "", PATH)),
    "plot_learning_rates": (["loss", "val_acc"], lambda **curves: (
        plots.plot_learning_rates, "net", {"learning rate 0.1": run(**curves)}, PATH)),
    "plot_schedules": ([*DROPS], lambda **curves: (
        plots.plot_schedules, "net",
        {key: [record(6, rates=(0.1, 0.01, 0.001)[: len(drops) + 1], drops=drops,
                      val_acc_curve=curves[key])] for key, drops in DROPS.items()}, PATH)),
}  # fmt: skip


def visible(figure):
    """The numbers that stand inside the panels of a figure. Zero counts if a panel names it."""
    numbers = []
    for axes in figure.axes:
        numbers += [image.get_array().compressed() for image in axes.images]
        numbers += [[0.0] for text in axes.texts if "zero" in text.get_text()]
        low, high = np.sort([axes.get_xlim(), axes.get_ylim()]).T
        for line in axes.get_lines():
            if line.get_transform() is axes.transData:
                points = line.get_xydata()
                numbers.append(points[((low <= points) & (points <= high)).all(axis=1)].ravel())
    return np.concatenate([[], *numbers])


@pytest.mark.parametrize(
    ("function", "kind", "mixed"),
    [(function, kind, False) for function, kind in product(CALLS, KINDS)]
    + [(function, kind, True) for function in CALLS for kind in ("zero", "diverged")],
)
def test_any_numbers_are_drawn_and_the_finite_ones_are_seen(function, kind, mixed):
    """All curves of a figure are of one kind, or each is of another kind."""
    names, call = CALLS[function]
    kinds, first = list(KINDS.values()), list(KINDS).index(kind)
    curves = {name: kinds[(first + mixed * k) % len(kinds)] for k, name in enumerate(names)}
    figure = drawn(*call(**curves))
    for axes in figure.axes:  # a logarithmic axis has something to show
        values = np.concatenate([[0], *(line.get_ydata() for line in axes.get_lines())])
        assert axes.get_yscale() == "linear" or np.nanmax(values) > 0
    seen = visible(figure)
    for name, values in curves.items():
        for value in values[name == "two drops" :]:  # in the first epoch it is "one drop"
            assert not np.isfinite(value) or np.isclose(seen, value, rtol=1e-5, atol=0).any(), name


# ---- Files and notebooks


@pytest.mark.parametrize("function", CALLS)
def test_one_picture_is_saved_and_the_figure_is_closed(function, tmp_path, monkeypatch):
    for module in (utils, plots):
        monkeypatch.setitem(module.STYLE, "figure.constrained_layout.use", True)
    names, call = CALLS[function]
    draw, *arguments = call(**dict.fromkeys(names, curve(1, 6)))
    draw(*arguments)
    (path,) = tmp_path.iterdir()
    defaults = {"visualizeWeights": "weights.png", "visualizeDataset": "dataset.png"}
    own = "figure.png" if draw.__module__ != "utils" else defaults.get(function, f"{function}.png")
    assert path.name == own
    assert len(np.unique(np.asarray(Image.open(path).convert("L")))) > 10  # not an empty page
    assert plt.get_fignums() == []


def test_a_picture_can_be_saved_in_a_new_folder_under_any_name(tmp_path):
    utils.part2Plots(np.ones((1, 1, 2, 2)), save_dir="new/folder", filename="name")
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == ["name.png"]


@pytest.mark.parametrize("folder", ["file", ""])
def test_an_error_names_the_picture_and_leaves_nothing(folder, tmp_path):
    Path("file").touch()
    Path("figure.png").mkdir()
    with pytest.raises(OSError, match=r"figure\.png") as raised:
        utils.visualizeWeights(np.ones((1, 1024)), str(tmp_path / folder), "figure")
    assert raised.value.filename == str(tmp_path / folder / "figure.png")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "figure.png"}
    assert plt.get_fignums() == []


def test_without_windows_nothing_is_shown_and_nothing_warns(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":0")  # matplotlib would warn that its Agg cannot use it
    utils.part3Plots([part3_result()], show_plot=True)
    assert plt.get_fignums() == []


NOTEBOOK = """
import os, utils
import matplotlib.pyplot as plt
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.pylabtools import select_figure_formats
from IPython.utils.capture import capture_output

select_figure_formats(InteractiveShell.instance(), {"png"})
show = plt.show
plt.show = lambda: (print(os.listdir()), show())
for show_plot in (True, False):
    with capture_output() as cell:
        utils.part4Plots([{"name": "net"}], show_plot=show_plot)
    print(cell.stdout, ["image/png" in output.data for output in cell.outputs], plt.get_fignums())
"""


def test_a_notebook_shows_the_saved_picture_below_the_cell(tmp_path):
    pytest.importorskip("matplotlib_inline")
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK], cwd=tmp_path, text=True, capture_output=True,
        env=os.environ | {"PYTHONPATH": str(Path(utils.__file__).parent),
                          "MPLBACKEND": "module://matplotlib_inline.backend_inline"},
    )  # fmt: skip
    said = ["['part4Plots.png']", " [True] []", " [] []"]
    assert done.stdout.splitlines() == said, done.stderr
