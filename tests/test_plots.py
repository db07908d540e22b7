import inspect

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import drawn
from PIL import Image

import utils

CURVE = np.linspace(2.3, 0.5, 1350).tolist()
ACCURACY = np.linspace(10, 60, 1350).tolist()
PART3 = [
    {"name": f"net_{k}", "loss_curve": CURVE, "train_acc_curve": ACCURACY,
     "val_acc_curve": ACCURACY, "test_acc": 55.0, "weights": np.zeros((32, 1024))}
    for k in range(5)
]  # fmt: skip
PART4 = [
    {"name": f"net_{k}"}
    | {f"{a}_{c}_curve": CURVE for a in ("relu", "sigmoid") for c in ("loss", "grad")}
    for k in range(5)
]
PART5 = {"name": "net"} | {
    f"{c}_curve_{s}": CURVE for c in ("loss", "val_acc") for s in ("1", "01", "001")
}
CALLS = {
    "part2Plots": lambda folder, name: utils.part2Plots(
        np.random.rand(5, 8, 25, 25), save_dir=folder, filename=name),
    "part3Plots": lambda folder, name: utils.part3Plots(PART3, folder, name),
    "part4Plots": lambda folder, name: utils.part4Plots(PART4, folder, name),
    "part5Plots": lambda folder, name: utils.part5Plots(PART5, folder, name),
    "visualizeWeights": lambda folder, name: utils.visualizeWeights(
        np.random.randn(32, 1024), folder, name),
    "visualizeDataset": lambda folder, name: utils.visualizeDataset(
        np.random.rand(200, 32, 32), np.arange(200) % 10, folder, name),
}  # fmt: skip


@pytest.mark.parametrize("helper", CALLS)
def test_saves_one_sharp_picture_and_closes_it(helper, tmp_path):
    CALLS[helper](str(tmp_path / "new" / "folder"), "figure")
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["figure.png"]
    image = Image.open(tmp_path / "new" / "folder" / "figure.png")
    assert image.width >= 1500
    assert len(np.unique(np.asarray(image.convert("L")))) > 10  # not an empty page
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", ["../outside", "a/b", "/tmp/outside"])
@pytest.mark.parametrize("helper", CALLS)
def test_never_writes_outside_its_folder(helper, name, tmp_path):
    with pytest.raises(ValueError, match="filename"):
        CALLS[helper](str(tmp_path / "folder"), name)
    assert not list(tmp_path.rglob("*.png"))
    assert plt.get_fignums() == []


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
def test_has_the_arguments_of_the_course(helper, signature):
    parameters = inspect.signature(getattr(utils, helper)).parameters.values()
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    assert str(inspect.Signature(plain)) == signature


def test_part3_has_the_four_panels(monkeypatch):
    figure = drawn(monkeypatch, lambda: utils.part3Plots(PART3, "", "x"))
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "training loss", "training and validation accuracy", "test against training accuracy",
        "validation against training accuracy",
    ]  # fmt: skip
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [f"net_{k}" for k in range(5)]
    plt.close(figure)


def test_trainings_differ_in_colour_line_style_and_marker(monkeypatch):
    figure = drawn(monkeypatch, lambda: utils.part3Plots(PART3, "", "x"))
    strong = [line for line in figure.axes[0].get_lines() if line.get_linewidth() == 2]
    assert len(strong) == 5
    assert len({line.get_color() for line in strong}) == 5
    assert len({line.get_marker() for line in strong}) == 5
    assert len({str(line._dash_pattern) for line in strong}) == 5
    plt.close(figure)


def test_axes_count_steps_and_epochs(monkeypatch):
    figure = drawn(monkeypatch, lambda: utils.part3Plots(PART3, "", "x"))
    loss_axes = figure.axes[0]
    assert loss_axes.get_xlabel() == "step"
    assert loss_axes.get_lines()[0].get_xdata()[[0, -1]].tolist() == [10, 13500]
    (above,) = [axes for axes in loss_axes.child_axes if "epoch" in axes.get_xlabel()]
    assert above.get_xlabel() == "epoch of 900 steps"
    figure.draw_without_rendering()
    assert above.get_xlim()[1] == pytest.approx(loss_axes.get_xlim()[1] / 900)
    plt.close(figure)


def test_gradients_are_on_a_log_scale(monkeypatch):
    figure = drawn(monkeypatch, lambda: utils.part4Plots(PART4, "", "x"))
    assert figure.axes[1].get_yscale() == "log"
    plt.close(figure)


def test_gradients_that_vanish_altogether_are_named(monkeypatch):
    dead = PART4[0] | {"name": "dead", "relu_grad_curve": [0.0] * len(PART4[0]["relu_grad_curve"])}
    figure = drawn(monkeypatch, lambda: utils.part4Plots([PART4[0], dead], "", "x"))
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels == ["dead, ReLU"]
    plt.close(figure)


def test_a_huge_first_loss_does_not_hide_the_others(monkeypatch):
    first = PART4[0]["relu_loss_curve"][1:]
    for value, scale in ((3.0, "linear"), (1e6, "symlog"), (float("inf"), "linear")):
        result = PART4[0] | {"relu_loss_curve": [value, *first]}
        figure = drawn(monkeypatch, lambda result=result: utils.part4Plots([result], "", "x"))
        assert figure.axes[0].get_yscale() == scale
        plt.close(figure)


def test_without_a_name_the_picture_is_called_after_the_helper(tmp_path):
    utils.part3Plots(PART3, save_dir=str(tmp_path), show_plot=False)
    assert [path.name for path in tmp_path.iterdir()] == ["part3Plots.png"]


def test_part5_takes_a_list_of_one(tmp_path):
    utils.part5Plots([PART5], str(tmp_path), "list", show_plot=False)
    utils.part5Plots(PART5, str(tmp_path), "one", show_plot=False)
    assert (tmp_path / "list.png").read_bytes() == (tmp_path / "one.png").read_bytes()


def test_part2_shows_at_most_nmax_maps_in_rows_of_images(monkeypatch):
    out = np.random.rand(5, 8, 25, 25)
    figure = drawn(monkeypatch, lambda: utils.part2Plots(torch.from_numpy(out), nmax=16))
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 16
    np.testing.assert_array_equal(shown[9], out[1, 1])
    plt.close(figure)


@pytest.mark.parametrize("shape", [(32, 1024), (16, 1, 3, 3), (8, 1, 4, 5)])
def test_weights_are_shown_on_one_scale(shape, monkeypatch):
    weights = np.random.randn(*shape)
    figure = drawn(monkeypatch, lambda: utils.visualizeWeights(weights, ""))
    images = [axes.images[0] for axes in figure.axes if axes.images]
    assert len(images) == shape[0]
    assert len({image.get_clim() for image in images}) == 1
    assert {image.get_cmap().name for image in images} == {"gray"}
    np.testing.assert_array_equal(images[1].get_array().ravel(), weights[1].ravel())
    plt.close(figure)


@pytest.mark.parametrize("shape", [(32, 100), (8, 3, 3, 3), (5,)])
def test_other_weights_are_refused(shape, tmp_path):
    with pytest.raises(ValueError, match="weights have shape"):
        utils.visualizeWeights(np.zeros(shape), str(tmp_path))


def test_dataset_shows_the_samples_of_each_class_in_its_row(monkeypatch):
    images, labels = np.random.rand(40, 32, 32), np.arange(40) % 10
    figure = drawn(monkeypatch, lambda: utils.visualizeDataset(images, labels, "", "x", 3))
    shown = [axes.images[0].get_array() for axes in figure.axes]
    assert len(shown) == 30
    np.testing.assert_array_equal(shown[3 * 7 + 2], images[27])
    plt.close(figure)


def test_infinite_and_missing_values_leave_gaps(tmp_path):
    broken = [1.0] * 50 + [float("nan"), float("inf")] * 50
    result = PART3[0] | {"loss_curve": broken, "val_acc_curve": [float("nan")] * 100,
                         "train_acc_curve": [10.0] * 100}  # fmt: skip
    utils.part3Plots([result], str(tmp_path), "broken", show_plot=False)
    assert np.isnan(utils._smooth(broken)[-1])
    assert utils._smooth(broken)[20] == pytest.approx(1.0)


def test_no_window_is_opened_without_a_display(monkeypatch, tmp_path):
    assert matplotlib.get_backend().lower() == "agg"
    monkeypatch.setattr(plt, "show", lambda: pytest.fail("a window"))
    utils.part3Plots(PART3, str(tmp_path), "figure", show_plot=True)
