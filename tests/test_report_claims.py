"""The report stops where the results say otherwise, except with synthetic results."""

import json
import shutil

import pytest
from helpers_report import build_report, make_up
from pypdf import PdfReader

from files import UserError
from report import claims, facts

FALSE = {  # claim: what makes it false, in the summary or in the facts
    "full_protocol": ("part3/cnn_3/runs", 3),
    "part2_signs": ("from2/means/0/3", 1.0),
    "cnns_beat_mlps": ("part3/cnn_5/test_acc_mean", 40.2),
    "cnns_validate_above_mlps_training": ("part3/mlp_1/train_acc_final", 90.0),
    "every_gap_is_positive": ("part3/mlp_1/gap", -1.0),
    "mlp_2_is_no_better": ("part3/mlp_2/test_acc_mean", 45.0),
    "families_differ_more_than_their_members": ("part3/cnn_4/test_acc_mean", 90.0),
    "part5_uses_the_pick": ("part3/cnn_5/val_acc_final", 80.0),
    "mlp_weights_are_smooth": ("from3/neighbours/mlp_2", 0.0),
    "sigmoid_gradient_is_smaller": ("part4/mlp_1/sigmoid/grad_first", 1.0),
    "gradient_falls_with_depth": ("part4/cnn_5/relu/grad_first", 0.1),
    "gradients_with_relu_catch_up": ("part4/cnn_5/relu/grad_last", 1e-3),
    "ratios_follow_the_estimate": ("part4/cnn_5/sigmoid/grad_first", 1e-12),
    "deep_sigmoid_cnns_stay_at_chance": ("part4/cnn_4/sigmoid/loss_last", 1.5),
    "the_deepest_waits_longest": ("from4/leaves/relu/cnn_3", 16),
    "mlps_learn_with_both": ("part4/mlp_2/sigmoid/loss_last", 2.3),
    "unscaled_inputs_blow_up": ("part4_unscaled/mlp_1/relu/loss_first", 2.3),
    "drops_are_read_off": ("from5/drops/0", 2),
    "a_tenth_is_fastest": ("part5/cnn_4/trainings/lr_0.001/val_acc_final", 90.0),
    "a_tenth_is_noisiest": ("from5/noise/sgd_001", 9.0),
    "the_first_drop_helps_at_once": ("from5/around_drops/0/1", 1.0),
}


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    out = tmp_path_factory.mktemp("made_up")
    make_up(out)
    return out


def change(tree, path, value):
    *keys, last = (int(key) if key.isdecimal() else key for key in path.split("/"))
    for key in keys:
        tree = tree[key]
    assert last in tree or isinstance(tree, list)
    tree[last] = value


def test_true_claims_pass(made_up):
    numbers = json.loads((made_up / "summary.json").read_text())
    claims.check(numbers, facts.collect(numbers, made_up))


@pytest.mark.parametrize("claim", [claim.__name__ for claim in claims.CLAIMS])
def test_false_claim_is_found(claim, made_up):
    numbers = json.loads((made_up / "summary.json").read_text())
    path, value = FALSE[claim]
    if path.startswith("part"):
        change(numbers, path, value)
    known = facts.collect(numbers, made_up)
    if path.startswith("from"):
        change(known, path, value)
    with pytest.raises(UserError, match=claim):
        claims.check(numbers, known)


def doctored(made_up, folder, *changes):
    """A copy of the made-up results with other numbers."""
    shutil.copytree(made_up, folder)
    numbers = json.loads((folder / "summary.json").read_text())
    for path, value in changes:
        change(numbers, path, value)
    (folder / "summary.json").write_text(json.dumps(numbers))
    return folder


def test_false_claim_stops_the_build(made_up, tmp_path):
    results = doctored(made_up, tmp_path / "results", FALSE["every_gap_is_positive"])
    done = build_report(results, tmp_path / "out", status=1)
    assert "every_gap_is_positive" in done.stderr
    assert "'mlp_1': -1.0" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not list((tmp_path / "out").iterdir())


def test_synthetic_report_says_so_and_claims_nothing(made_up, tmp_path):
    changes = [("dataset", "synthetic"), ("part4_unscaled", {}), FALSE["every_gap_is_positive"]]
    results = doctored(made_up, tmp_path / "results", *changes)
    (results / "part4_unscaled.png").unlink()
    build_report(results, tmp_path)
    assert not (tmp_path / "hw1_report.pdf").exists()
    pdf = PdfReader(tmp_path / "hw1_report_synthetic.pdf")
    pages = [page.extract_text() for page in pdf.pages]
    assert all("synthetic" in page for page in pages)
    assert "written for CIFAR-10" in " ".join(pages[0].split())
