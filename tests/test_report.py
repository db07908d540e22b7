"""The report: it builds, says what the results say, and stops where they say otherwise."""

import ast
import json
import math
import re
import shutil
from copy import deepcopy
from dataclasses import replace

from experiments.records import read_variants
from experiments.storage import UserError

import numpy as np
import pytest
from conftest import ROOT, call_script
from helpers_faults import assert_one_line, assert_succeeds, run
from pypdf import PdfReader

from models import ARCHITECTURES, build, num_parameters
from report import claims, facts, measure
from report.build import FURTHER, MODULES, PARTS, file_name, missing, read_summary, segments
from report.parameters import PARAMETERS
from report.summary import KINDS, accuracy_text

QUESTIONS = [
    "1.1", "1.2", *(f"1.3.{k}" for k in (1, 2, 3)), "1.4.1", "1.4.2",
    *(f"2.2.{k}" for k in range(1, 7)), *(f"3.2.{k}" for k in range(1, 11)),
    *(f"4.2.{k}" for k in (1, 2, 3)), *(f"5.2.{k}" for k in (1, 2, 3, 4)),
]  # fmt: skip


RESULTS = ROOT / "results"


@pytest.fixture(scope="module")
def numbers():
    return json.loads((RESULTS / "summary.json").read_text())


def build_report(results, out, *options, status=0):
    return call_script("report.build", "--results", results, "--out", out, *options, status=status)


# ---- What is in it


def check_content(path, results):
    """Every question, the numbers of part 3, all code, and nothing left to fill in."""
    text, dense = text_of(path)
    titles = [outline.title for outline in flatten(PdfReader(path).outline)]
    for question in QUESTIONS:
        assert any(title.startswith(f"{question} ") for title in titles), question
        assert re.search(rf"(?<![\d.]){re.escape(question)} [A-Z]", text), question
    numbers = json.loads((results / "summary.json").read_text())
    for name, row in numbers["part3"].items():
        for shown in (name, f"{row['parameters']:,}", accuracy_text(row),
                      f"{row['test_acc_best']:.2f}", f"{row['val_acc_final']:.1f}"):  # fmt: skip
            assert shown.replace(" ", "") in dense, shown
    for row in numbers["part5"].values():
        for variant in row.values():
            assert f"{variant['test_acc_mean']:.2f}" in text
    for module in (*PARTS, *MODULES, *FURTHER):
        for line in (ROOT / module).read_text(encoding="utf-8").splitlines():
            assert "".join(line.split()) in dense, f"{module}: {line}"
    assert "def visualizeWeights" not in text  # utils.py is left out
    assert not re.search(r"TODO|FIXME|XXX|lorem|placeholder|\bnone\b~|\?\?", text)
    return text


def flatten(outline):
    for entry in outline:
        yield from flatten(entry) if isinstance(entry, list) else [entry]


def text_of(path):
    """The text of a PDF, every run of white space as one blank, and the text without any."""
    text = " ".join(page.extract_text() for page in PdfReader(path).pages)
    return " ".join(text.split()), "".join(text.split())


def test_report_of_the_committed_results(tmp_path):
    name = ("--name", "Ayşe #[*x*] $y$", "--surname", "Öz", "--id", "e1234564")
    done = build_report(RESULTS, tmp_path, *name, "--strict")
    path = tmp_path / "hw1_ayse_x_y_oz_e123456.pdf"
    assert done.stdout == f"{path}\n"  # no note, for part 2 shows samples_4.npy
    text = check_content(path, RESULTS)
    assert "Ayşe #[*x*] $y$ Öz, e1234564" in text
    assert "Synthetic results" not in text
    assert path.stat().st_size < 2_000_000
    reader = PdfReader(path)
    assert 20 < len(reader.pages) < 80
    size = [float(x) for x in reader.pages[0].mediabox[2:]]
    assert size == pytest.approx([595.3, 841.9], abs=0.1)


def test_same_results_give_the_same_report(tmp_path):
    assert_succeeds(run(("-m", "report.build"), "--out", tmp_path / "one", cwd=tmp_path))
    done = build_report(RESULTS, tmp_path / "two")
    first, second = tmp_path / "one" / "hw1_report.pdf", tmp_path / "two" / "hw1_report.pdf"
    assert done.stdout.startswith(f"{second}\n")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_report_of_a_demo(tmp_path):
    """What make demo and make figures do, the summary and the report of it."""
    options = ("--dataset", "synthetic", "--quick", "--out", tmp_path)
    demo = [
        ("part2_conv.py", "--out", tmp_path),
        ("part3_architectures.py", *options),
        ("part4_activations.py", *options),
        ("part5_learning_rate.py", *options, "--drop-epochs", 2, 4),
    ]
    report = [(("-m", f"report.{name}"), "--out", tmp_path) for name in ("measure", "summary")]
    report += [(("-m", "report.build"), "--results", tmp_path, "--out", tmp_path)]
    for command in (*demo, *((*command, "--plot-only") for command in demo), *report):
        assert_succeeds(run(*command, cwd=tmp_path))
    assert "Synthetic results" in check_content(tmp_path / "hw1_report_synthetic.pdf", tmp_path)


@pytest.mark.parametrize("module", [*PARTS, *MODULES, *FURTHER])
def test_the_appendix_keeps_docstrings_whole(module):
    """Its segments are the module, and each docstring is in one that no page may break."""
    source = (ROOT / module).read_text()
    found = segments(source)
    lines = [line for segment in found for line in segment["text"].splitlines()]
    assert [line for line in lines if line] == [line for line in source.splitlines() if line]
    wholes = [segment["text"] for segment in found if segment["whole"]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            assert any(docstring in whole for whole in wholes)


def test_formulas_give_what_pytorch_counts():
    assert list(PARAMETERS) == list(ARCHITECTURES)
    for name, counts in PARAMETERS.items():
        model = build(name)
        layers = [layer for layer in model if any(True for _ in layer.parameters())]
        assert counts == [num_parameters(layer) for layer in layers]


# ---- Its name


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (("Ada", "Lovelace", "e2345678"), "hw1_ada_lovelace_e234567.pdf"),
        (("Ayşe Işıl", "Çağlayan-Öz", "E2345678"), "hw1_ayse_isil_caglayan_oz_e234567.pdf"),
        (("../a/b", "O'Neill\\c:", "1234567"), "hw1_a_b_o_neill_c_e123456.pdf"),
        (("Łukasz", "Groß", "1234567"), "hw1_lukasz_gross_e123456.pdf"),
        (("", "", ""), "hw1_report.pdf"),
    ],
)
def test_file_name(person, expected):
    assert file_name(*person) == expected


@pytest.mark.parametrize(
    ("person", "option"),
    [
        (("Ada", "Lovelace", "ee234567"), "--id"),
        (("Ada", "Lovelace", "١٢٣٤٥٦٧"), "--id"),
        (("Ada", "Lovelace", ""), "--id"),
        (("Ada", "", "1234567"), "--surname"),
        (("李", "明", "1234567"), "--name"),
        (("Ada", "L" * 300, "1234567"), "--surname"),
    ],
)
def test_bad_names_and_ids_are_refused(person, option):
    with pytest.raises(ValueError, match=option):
        file_name(*person)


def test_refusal_is_one_line_with_status_2(tmp_path):
    person = ("--name", "Ada", "--surname", "Lovelace", "--id", "345678")
    done = build_report(tmp_path, tmp_path, *person, status=2)
    assert_one_line(done, 2, "argument --id: '345678' is not the seven digits")


# ---- What is missing


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("summary.json", "-m report.summary"),
        ("measurements.json", "-m report.measure"),
        ("part4_unscaled.png", "part4_activations.py --unscaled"),
        ("part2.json", "part2_conv.py"),
    ],
)
def test_missing_file_is_named_with_its_command(path, command, tmp_path):
    results = shutil.copytree(RESULTS, tmp_path / "results", ignore=lambda *_: ["runs"])
    (results / path).unlink()
    done = build_report(results, tmp_path / "out", status=1)
    assert_one_line(done, 1, str(results / path), f"python {command}", f"--out {results}")


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("part3/cnn_4", "part3 has no cnn_4"),
        ("part4/cnn_4/relu", "part4 has no cnn_4"),
        ("part5/cnn_4", "part5 is not complete"),
        ("part5/cnn_4/lr_0.01", "part5 is not complete"),
        ("part5/cnn_4/drop_", "part5 is not complete"),
    ],
)
def test_incomplete_summary_is_refused(gone, said, numbers):
    incomplete = deepcopy(numbers)
    *keys, last = gone.split("/")
    row = incomplete
    for key in keys:
        row = row[key]
    for key in [key for key in row if key.startswith(last)]:
        del row[key]
    assert said in missing(incomplete, RESULTS)[0]


@pytest.mark.parametrize("text", ["{", "[]", "{}", "\xff"])
def test_damaged_summary_is_refused(text, tmp_path):
    (tmp_path / "summary.json").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"cannot be read .* python -m report.summary"):
        read_summary(tmp_path)


def test_summary_of_other_records_is_refused(tmp_path):
    """Without the records, facts cannot be collected: a line says what to do."""
    results = shutil.copytree(RESULTS, tmp_path / "results", ignore=lambda *_: ["runs"])
    done = build_report(results, tmp_path / "out", status=1)
    assert_one_line(done, 1, "summary.json", "make the files anew with: python -m report.summary")


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("measurements.json", "{", r"cannot be read \(.*make it with: python -m report.measure"),
        ("measurements.json", '{"data_sha256": "0"}', "measured on other data"),
        ("part2.json", "[]", r"no JSON object\); make it with: python part2_conv.py"),
    ],
)
def test_what_is_damaged_or_of_other_data_is_refused(file, content, said, numbers, tmp_path):
    for name in ("measurements.json", "part2.json", "part2_out.npy"):
        shutil.copy(RESULTS / name, tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=rf"{file}: .*{said}"):  # noqa: PT012
        facts.part2_facts(tmp_path)
        facts.measured_facts(tmp_path, numbers["data_sha256"])


def test_one_image_and_maps_that_are_not_finite_can_be_reported(tmp_path):
    shutil.copy(RESULTS / "part2.json", tmp_path)
    np.save(tmp_path / "part2_out.npy", np.full((1, 2, 3, 3), np.nan, np.float32))
    known = facts.part2_facts(tmp_path)
    assert (known["images"], known["means"]) == (1, [[None, None]])
    json.dumps(known, allow_nan=False)
    assert facts.fall({n: {"relu": {"grad_first": g}} for n, g in (("cnn_3", 1.0), ("cnn_5", 0.0))},
                      "relu", "grad_first") == math.inf  # fmt: skip


def test_a_gradient_that_is_not_zero_throughout_is_not_dead(numbers):
    variants = {p: read_variants(RESULTS, p) for p in KINDS}
    assert facts.part4_facts(numbers, variants)["dead"] == ["mlp_1", "mlp_2", "cnn_3"]
    (run,) = variants["part4_unscaled"]["mlp_2_relu"]
    run["grad_curve"][len(run["grad_curve"]) // 2] = 1e-9  # neither at the start nor at the end
    assert facts.part4_facts(numbers, variants)["dead"] == ["mlp_1", "cnn_3"]


def test_quick_results_are_made_again_with_quick(tmp_path):
    results = shutil.copytree(RESULTS, tmp_path / "quick", ignore=lambda *_: ["runs"])
    (results / "part3.png").unlink()
    with pytest.raises(UserError, match=f"part3_architectures.py --out {results} --quick, then"):
        read_summary(results)


def test_schedule_and_adam_are_compared_seed_by_seed():
    """Also if one of them lacks a run. Nothing is decided unless the schedule is clearly ahead."""
    variants = {part: read_variants(RESULTS, part) for part in ("part3", "part5")}
    schedule, adam = (
        next(name for name in variants["part5"] if re.search(pattern, name))
        for pattern in ("cnn_4_drop_.*_", "cnn_4_adam")
    )

    def facts_with(tests):
        for name, seeds in tests.items():
            (first, *_) = variants["part5"][name]
            variants["part5"][name] = [
                replace(first, config=first.config | {"seed": seed},
                        environment={"torch": "1.0" if accuracy < 52 else "2.0"},
                        arrays=first.arrays | {"test_acc": np.float32(accuracy)})
                for seed, accuracy in seeds.items()
            ]  # fmt: skip
        return facts.part5_facts("cnn_4", variants["part3"], variants["part5"])

    known = facts_with({schedule: {0: 60.0, 1: 61.0, 3: 63.0}, adam: {1: 51.5, 3: 52.5}})
    pairs = known["text"]["against_adam"]["test"]
    assert pairs == {"each": ["9.5", "10.5"], "mean": "10.0", "width": "6.4"}  # 12.706 * 0.5
    assert known["mixed_pairs"] == ["1"]
    assert known["numbers"]["against_adam_unmixed"]["test"]["each"] == [10.5]
    assert known["undecided"] == []  # the validation curves are copies, with one difference
    known = facts_with({adam: {1: 51.5, 3: 62.5}})
    assert known["numbers"]["against_adam"]["test"]["each"] == [9.5, 0.5]
    assert known["undecided"] == ["test"]
    assert facts_with({adam: {1: 71.5, 3: 72.5}})["undecided"] == ["test"]  # Adam is ahead
    known = facts_with({adam: {9: 51.5}})
    assert known["text"]["against_adam"]["test"]["mean"] == "–"  # no run has a partner
    assert known["undecided"] == ["validation", "test"]


def test_intervals_of_means():
    """Of Student (1908), hours of sleep of ten patients with two drugs, paired and by Welch."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    differences = np.subtract(two, one)
    assert facts.half_width(differences) == pytest.approx(0.88, abs=0.005)
    welch = facts.welch_width(facts.sample(one), facts.sample(two))
    assert welch == pytest.approx((3.3654832 + 0.2054832) / 2, abs=0.005)
    assert facts.half_width([1.0]) == facts.welch_width((1.0, None, 1), (1.0, 2.0, 3)) == np.inf


def test_percentiles_are_those_of_students_distribution():
    """2.5 % of the density, integrated, lie beyond each."""
    for freedom, limit in enumerate(facts.STUDENT, start=1):
        angle = np.linspace(np.arctan(limit / np.sqrt(freedom)), np.pi / 2, 10_001)
        density = np.cos(angle) ** (freedom - 1)  # with t = tan(angle) * sqrt(freedom)
        scale = math.gamma((freedom + 1) / 2) / math.sqrt(math.pi) / math.gamma(freedom / 2)
        assert scale * np.trapezoid(density, angle) == pytest.approx(0.025, rel=2e-3)


def test_units_of_a_single_architecture_are_drawn(tmp_path):
    measure.plot_units({"mlp_1": np.full((32, 10), 0.5)}, tmp_path / "units.png")
    assert (tmp_path / "units.png").exists()


def test_no_semicolon_is_swallowed():
    """Typst takes one right after an expression as its end and does not print it."""
    for source in (ROOT / "report").glob("*.typ"):
        found = re.search(r"#[\w.]+(\([^()]*\)|\.\w+)*;|\];", source.read_text(encoding="utf-8"))
        assert not found, f"{source.name}: {found.group()}"


# ---- Its claims

FALSE = {  # claim: what makes it false
    "full_protocol": ("part3/cnn_3/runs", 3),
    "course_input": ("from2/files/samples", None),
    "part2_signs": ("from2/means/0/3", 1.0),
    "column_6_is_weak": ("from2/means/0/5", 1e3),
    "cnn_3_overfits_sooner": ("from3/cnn_4_gap_at/cnn_3/mean", 2.9),
    "kernels_7_and_8_are_mostly_positive": ("from2/files/kernel_positive/7", 8),
    "cnns_beat_mlps": ("part3/cnn_5/test_acc_mean", 40.2),
    "cnn_4_is_best": ("part3/cnn_3/test_acc_mean", 63.4),
    "ten_runs_distinguish_no_further": ("part3/mlp_2/test_acc_mean", 45.0),
    "cnns_validate_above_mlps_training": ("part3/mlp_1/train_acc_final", 90.0),
    "every_gap_is_positive": ("part3/mlp_1/gap", -1.0),
    "mlps_have_the_largest_gaps": ("part3/cnn_3/train_acc_final", 20.0),
    "cnns_follow_their_parameters": ("from3/cnns_by_accuracy", ["cnn_3", "cnn_5", "cnn_4"]),
    "gap_groups_follow_the_parameters": ("from3/gap_groups", [["cnn_5", "mlp_1"], ["cnn_3"]]),
    "deeper_still_improve": ("from3/late_rise/cnn_5", "0.1"),
    "cnn_5_fits_least": ("part3/cnn_5/gap", 5.0),
    "cnn_5_is_not_trained_as_far": ("from3/cnn_4_gap_at/cnn_5/mean", -2.0),
    "families_differ_more_than_their_members": ("from3/family_gap", "1.0"),
    "part5_uses_the_pick": ("from3/by_validation/0", "cnn_5"),
    "mlp_weights_are_smooth": ("from3/neighbours/mlp_2", 0.0),
    "kernels_have_structure": ("measured/numbers/kernels/cnn_4/mean/measured", -0.1),
    "few_units_are_specialised": ("measured/numbers/units/mlp_1/share_either_way", 0.1),
    "kernels_prefer_the_same_classes": ("measured/numbers/units/cnn_4/best_classes/0", 1),
    "mlp_units_spread_over_classes": ("measured/numbers/units/mlp_2/best_classes/0", 0),
    "sigmoid_gradient_is_smaller": ("part4/mlp_1/sigmoid/grad_first", 1.0),
    "gradient_falls_with_depth": ("part4/cnn_5/relu/grad_first", 0.1),
    "gradients_with_relu_catch_up": ("part4/cnn_5/relu/grad_last", 1e-3),
    "the_signal_dies_in_deep_sigmoids": ("measured/numbers/signal/sigmoid/5", 1e-3),
    "contrast_tells_the_same_classes": ("measured/numbers/contrast/4", 0.8),
    "batches_disagree_more_and_more": ("measured/numbers/training/relu/all_images/15", 0.3),
    "ratios_follow_the_estimate": ("measured/off/cnn_5", 1.3),
    "most_weights_do_not_move": ("from4/unmoved/same", 30),
    "deep_sigmoid_cnns_stay_at_chance": ("part4/cnn_4/sigmoid/loss_last", 1.5),
    "initial_weights_free_the_sigmoid": ("from4/leaves_initialized/sigmoid/cnn_5/0", None),
    "initial_weights_end_the_wait": ("from4/leaves_initialized/relu/cnn_5/0", 14),
    "the_deepest_waits_longest": ("from4/leaves/relu/cnn_3/0", 16),
    "mlps_learn_with_both": ("part4/mlp_2/sigmoid/loss_last", 2.3),
    "unscaled_inputs_blow_up": ("from4/blown_up", ["mlp_1", "mlp_2"]),
    "shallow_relus_die": ("from4/dead", ["mlp_1", "mlp_2"]),
    "cnn_3_dies_in_its_first_steps": ("measured/numbers/unscaled/step", 20),
    "sigmoids_saturate": ("from4/zeros/mlp_2", 1500),
    "deep_networks_profit": ("from4/better", [["cnn_3", "sigmoid"]]),
    "deep_sigmoids_stay_stuck": ("from4/stuck", [["cnn_4", "sigmoid"]]),
    "drops_are_read_off": ("from5/drops/0", 2),
    "five_runs_were_planned": ("from5/runs", "three times"),
    "larger_rates_are_faster": ("from5/numbers/factors/0", 1.5),
    "the_factor_is_near_ten_for_small_rates": ("from5/numbers/low_factors_by_run/sgd_01/0", 5.0),
    "noise_falls_at_the_drop": ("from5/numbers/noise/1/1", 1.5),
    "a_tenth_is_noisiest": ("from5/numbers/noise_end/sgd_001/1", 9.0),
    "the_first_drop_helps": ("from5/numbers/against_constant/first_drop/each/0", 1.5),
    "the_first_drop_keeps_its_lead": ("from5/numbers/against_constant/constants_end/each/1", 1.5),
    "the_schedule_beats_the_adam_of_3_1": ("from5/numbers/against_adam_3/width", 5.0),
    "the_schedule_ends_above_adam": ("from5/numbers/against_adam/test/each/1", -0.1),
    "adam_starts_faster": ("from5/numbers/lead/before/0", -0.2),
    "adam_still_rises": ("from5/numbers/late_rises/adam/mean", 0.0),
    "the_second_drop_does_little": ("from5/numbers/second_drop_gain/test/each/1", -0.8),
    "without_mixed_pairs_it_is_open": ("from5/numbers/against_adam_unmixed/test/width", 1.0),
    "rounding_moves_runs": ("from5/numbers/rounding/each/1", 0.0),
    "the_second_drop_stops_the_decline": ("from5/numbers/late_gain/each/1", -0.1),
    "the_second_drop_calms": ("from5/numbers/second_drop_noise/0/1", 9.0),
    "the_second_drop_stops_the_fit": ("from5/numbers/train_at_end/0", 99.0),
    "lower_loss_after_the_drop": ("from5/numbers/losses/0/0", 2.0),
    "lower_rates_fit_closer": ("from5/numbers/gaps_at_constants_end/1", 99.0),
}


def changed(tree, path, value):
    """A copy of a tree of dictionaries and lists with another value at one place."""
    tree = deepcopy(tree)
    *keys, last = (int(key) if key.isdecimal() else key for key in path.split("/"))
    row = tree
    for key in keys:
        row = row[key]
    assert last in row or isinstance(row, list)
    row[last] = value
    return tree


@pytest.fixture(scope="module")
def holding(numbers):
    """Facts for which all claims hold."""
    return facts.collect(numbers, RESULTS)


def test_the_report_has_a_number_everywhere(holding):
    """For the committed results; "–" stands for what is not finite, or has no value."""
    assert "–" not in json.dumps(holding, ensure_ascii=False)


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.__name__)
def test_false_claim_is_found(claim, holding):
    known = changed(holding, *FALSE[claim.__name__])
    found = claims.failed(known)
    assert found[claim.__name__]["says"] == claim.__doc__
    assert found[claim.__name__]["numbers"] == claim(known)[1]


def test_claim_that_cannot_be_computed_does_not_hold(holding):
    known = changed(holding, "from4", {})
    assert "cannot be computed (KeyError" in claims.failed(known)["shallow_relus_die"]["numbers"]


def doctored(folder, numbers):
    """A copy of the results with another summary."""
    shutil.copytree(RESULTS, folder)
    (folder / "summary.json").write_text(json.dumps(numbers))
    return folder


def test_a_false_claim_is_marked_and_listed_or_stops_the_build(numbers, tmp_path):
    false = changed(numbers, *FALSE["full_protocol"])
    overflown = changed(false, "part4/mlp_1/relu/loss_last", None)
    results = doctored(tmp_path / "results", overflown)
    done = build_report(results, tmp_path / "out", "--strict", status=1)
    assert_one_line(done, 1, "full_protocol", "'cnn_3': (3, 15)")
    assert not list((tmp_path / "out").iterdir())
    done = build_report(results, tmp_path / "out")
    failed = claims.failed(facts.collect(overflown, results))
    assert f"{len(failed)} of {len(claims.CLAIMS)} claims do not hold" in done.stdout
    text, _ = text_of(tmp_path / "out" / "hw1_report.pdf")
    assert all(name in text for name in failed)
    assert "overflow" in text


def test_synthetic_report_says_so_on_every_page(numbers, tmp_path):
    """As in a demo, 0.1 never gets where 0.01 ends, and parts 3 and 5 have single runs."""
    synthetic = numbers | {"dataset": "synthetic", "part4_unscaled": {}}
    results = doctored(tmp_path / "results", synthetic)
    (results / "part4_unscaled.png").unlink()
    shutil.rmtree(results / "runs" / "part4_unscaled")
    for path in (results / "runs").glob("part[35]/*/run_0[1-9].npz"):
        path.unlink()
    slow, fast = (results / "runs" / "part5" / f"cnn_4_lr_{rate}" for rate in (0.001, 0.1))
    shutil.copy(slow / "run_00.npz", fast)
    name = ("--name", "Ada", "--surname", "Lovelace", "--id", "2345677")
    done = build_report(results, tmp_path / "out", *name)
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "hw1_ada_lovelace_e234567_synthetic.pdf"
    note = "note: this ID asks for samples_7.npy; part 2 shows samples_4.npy"
    assert note in done.stdout
    pages = PdfReader(path).pages
    texts = [pages[k].extract_text() for k in (0, 1, len(pages) // 3, -1)]  # all take seconds
    assert all("synthetic" in text for text in texts)
    first_page = " ".join(texts[0].split())
    assert "written for CIFAR-10" in first_page
    assert "one pair of runs" in first_page
