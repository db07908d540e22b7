import os

import pytest
from conftest import TINY, run_script
from helpers_faults import assert_one_line, run

SCRIPTS = ("part3_architectures.py", "part4_activations.py", "part5_learning_rate.py")


@pytest.mark.parametrize("script", ("part2_conv.py", *SCRIPTS))
def test_help_explains_every_option(script):
    text = run_script(script, "--help").stdout
    options = ["--out", "--plot-only"]
    if script != "part2_conv.py":
        options += ["--arch", "--runs", "--epochs", "--batch-size", "--seed", "--dataset"]
        options += ["--data-dir", "--device", "--threads", "--quick"]
    for option in options:
        assert f"\n  {option}" in text


@pytest.mark.parametrize(
    ("script", "arguments", "named"),
    [
        (SCRIPTS[0], ("--epochs", "0"), "--epochs: '0'"),
        (SCRIPTS[0], ("--runs", "ten"), "--runs: 'ten'"),
        (SCRIPTS[0], ("--arch", "cnn_9"), "cnn_9"),
        (SCRIPTS[1], ("--device", "tpu"), "'tpu' is not auto, cpu, cuda, cuda:N or mps"),
        (SCRIPTS[1], ("--device", "cuda:99"), "cuda:99"),
        (SCRIPTS[1], ("--seed", "-1"), "--seed"),
        (SCRIPTS[2], ("--threads", "100000"), "--threads: 100000, but there are"),
        (SCRIPTS[2], ("--arch", "mlp_1"), "mlp_1"),
        (SCRIPTS[2], ("--drop-epochs", "9", "4"), "--drop-epochs: A < B < 30"),
        (SCRIPTS[2], ("--learning-rate", "1"), "--learning-rate"),
        (SCRIPTS[0], ("--data-dir", "x", "--out", ""), "--out: '' is not a folder"),
        (SCRIPTS[0], ("--data-dir", ""), "--data-dir: '' is not a folder"),
        ("part2_conv.py", ("--samples",), "--samples"),
    ],
)
def test_a_bad_value_ends_with_one_line_and_status_2(script, arguments, named, tmp_path):
    done = run_script(script, *arguments, "--out", tmp_path / "out", cwd=tmp_path, status=2)
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("script", ("part2_conv.py", *SCRIPTS))
def test_a_folder_that_cannot_be_written_to_is_noticed_before_training(script, tmp_path):
    (tmp_path / "file").write_text("in the way")
    done = run_script(script, "--out", tmp_path / "file" / "out", cwd=tmp_path, status=2)
    assert done.stderr.count("\n") == 1
    assert "cannot be written to" in done.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "reason", "way_out"),
    [
        (
            "part2_conv.py",
            ("--samples", "none.npy"),
            "none.npy: not a readable .npy file",
            "built in",
        ),
        (
            "part2_conv.py",
            ("--plot-only",),
            "part2_out.npy: not a readable .npy file",
            "without --plot-only",
        ),
        (SCRIPTS[0], ("--data-dir", __file__), "test_cli.py: not a folder", "--data-dir"),
    ],
)
def test_a_file_in_the_wrong_place_is_one_line(script, arguments, reason, way_out, tmp_path):
    done = run_script(script, *arguments, "--out", tmp_path / "out", cwd=tmp_path, status=1)
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert way_out in done.stderr


def test_a_lack_of_memory_is_one_line(tmp_path):
    program = "import script, torch; script.run(lambda: torch.empty(2**45))"
    assert_one_line(run(("-c", program), cwd=tmp_path), 1, "not enough memory")


def test_too_few_steps_for_a_curve_are_noticed_before_training(tmp_path):
    arguments = ("--dataset", "synthetic", "--quick", "--epochs", 1, "--batch-size", 4500)
    done = run_script(SCRIPTS[0], *arguments, "--out", tmp_path, status=1)
    assert done.stderr.splitlines()[-1].endswith("take more --epochs or a smaller --batch-size")


def test_each_kind_of_results_has_its_own_folder(tmp_path):
    run_script("part2_conv.py", cwd=tmp_path)
    run_script(SCRIPTS[0], *TINY, "--arch", "mlp_1", "--epochs", 1, cwd=tmp_path)
    (folder,) = (tmp_path / "results").iterdir()
    assert folder.name == "synthetic"
    assert (folder / "part3_mlp_1.pkl").exists()


def test_torch_and_torchvision_that_do_not_belong_together(tmp_path):
    """A torchvision of another torch build fails like this when it is imported."""
    (tmp_path / "torchvision").mkdir()
    failing = "raise RuntimeError('operator torchvision::nms does not exist')"
    (tmp_path / "torchvision" / "__init__.py").write_text(failing)
    search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    arguments = ("--arch", "mlp_1", "--data-dir", tmp_path / "none", "--out", tmp_path / "out")
    done = run_script(SCRIPTS[0], *arguments, env={"PYTHONPATH": search}, status=1)
    assert done.stderr.count("\n") == 1
    assert "operator torchvision::nms does not exist" in done.stderr
    assert "pip install --force-reinstall torch torchvision" in done.stderr


def test_without_a_network_the_message_says_what_to_do(tmp_path):
    proxy = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    arguments = ("--arch", "mlp_1", "--data-dir", tmp_path / "none", "--out", tmp_path / "out")
    done = run_script(SCRIPTS[0], *arguments, env=proxy, status=1)
    last = done.stderr.splitlines()[-1]
    assert "could not be downloaded" in last
    assert "--data-dir" in last
    assert "--dataset synthetic" in last
    assert not list((tmp_path / "out").rglob("*.npz"))
