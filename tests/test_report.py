"""The report: it builds, its numbers are those of the records, what they do not support shows."""

import json
import math
import re
import shutil
import statistics
import tokenize

import numpy as np
import pytest
import torch
from conftest import ROOT, call_script
from helpers_faults import assert_one_line, assert_succeeds, run
from helpers_records import record, write_record
from pypdfium2 import PdfDocument

import part3_architectures as part3
from data import draw_synthetic, first_of_each_class, sha256
from experiments import records
from experiments.records import Record
from experiments.storage import UserError
from models import ARCHITECTURES, build, num_parameters
from report import facts, measure
from report.build import SHOWN, appendix, file_name, python_source
from report.parameters import PARAMETERS

RESULTS = ROOT / "results" / "reference"
PERSON = ("--name", "Ayşe #[*x*] $y$", "--surname", "Öz", "--id", "e1234567")
QUESTIONS = [
    "1.1", "1.2", *(f"1.3.{k}" for k in (1, 2, 3)), "1.4.1", "1.4.2",
    *(f"2.2.{k}" for k in range(1, 7)), *(f"3.2.{k}" for k in range(1, 11)),
    *(f"4.2.{k}" for k in (1, 2, 3)), *(f"5.2.{k}" for k in (1, 2, 3, 4)),
]  # fmt: skip


def build_report(results, out, *options, status=0, shown=("models.py",)):
    """Without most of the code, which takes long to typeset."""
    nowhere = ("--data-dir", out / "nowhere")  # nothing is measured again
    arguments = ("--results", results, "--out", out, *nowhere, *options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("report.build.SHOWN", shown)
        return call_script("report.build", *arguments, status=status)


class Report:
    """A PDF, its text with single blanks and without any, and its outline: (title, page)."""

    def __init__(self, path):
        with PdfDocument(path) as pdf:
            self.pages = [" ".join(p.get_textpage().get_text_range().split()) for p in pdf]
            self.outline = [
                (entry.get_title(), entry.get_dest().get_index() + 1) for entry in pdf.get_toc()
            ]
        self.text = " ".join(self.pages)
        self.dense = "".join(self.text.split())

    def page_of(self, start):
        return next(page for title, page in self.outline if title.startswith(start))


def shown(value, digits=1):
    """A number as the report writes it."""
    return f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def accuracies_of(variant):
    """Read without any of our code."""
    paths = sorted((RESULTS / "runs" / variant).glob("run_*.npz"))
    return [round(float(np.load(path)["test_acc"]), 4) for path in paths]


def last_epoch(variant, curve="val_acc_curve"):
    paths = sorted((RESULTS / "runs" / variant).glob("run_*.npz"))
    return [float(np.load(path)[curve][-90:].mean(dtype=np.float64)) for path in paths]


# ---- The committed results


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The report of the committed results: what the command said, the PDF with a name."""
    out = tmp_path_factory.mktemp("report")
    done = build_report(RESULTS, out, *PERSON, "--strict", shown=SHOWN)
    return done, Report(out / "hw1_ayse_x_y_oz_e123456.pdf")


def test_every_question_is_answered_under_its_number(built):
    _, report = built
    for question in QUESTIONS:
        assert any(title.startswith(f"{question} ") for title, _ in report.outline), question
        assert re.search(rf"(?<![\d.]){re.escape(question)} [A-Z]", report.text), question
    assert "Ayşe #[*x*] $y$ Öz, e1234567" in report.pages[0]
    assert not re.search(r"TODO|FIXME|lorem|not here|Synthetic results", report.text)
    for kind in ("Table", "Figure"):  # in order
        numbers = re.findall(rf"{kind} (\d+): ", report.text)
        assert numbers == [str(k) for k in range(1, len(numbers) + 1)]


def test_the_note_about_the_samples_says_what_to_type(built):
    done, _ = built
    command = f"python part2_conv.py --samples samples_7.npy --kernel kernel.npy --out {RESULTS}"
    assert done.stdout.endswith(f"part 2 shows samples_4.npy. For yours type: {command}\n")


def test_numbers_of_part_3_are_those_of_the_records(built):
    _, report = built
    for name in ARCHITECTURES:
        tests = accuracies_of(f"part3/{name}")
        mean, deviation = statistics.mean(tests), statistics.stdev(tests)
        train, val = (
            statistics.mean(last_epoch(f"part3/{name}", f"{kind}_acc_curve"))
            for kind in ("train", "val")
        )
        numbers = (f"{num_parameters(build(name)):,}", "10", f"{mean:.2f}±{deviation:.2f}",
                   f"{max(tests):.2f}", shown(train), shown(val), shown(train - val))  # fmt: skip
        assert f"{name}{''.join(numbers)}" in report.dense
    worst = min(statistics.mean(accuracies_of(f"part3/cnn_{k}")) for k in (3, 4, 5))
    best = max(statistics.mean(accuracies_of(f"part3/mlp_{k}")) for k in (1, 2))
    assert f"and are {shown(worst - best)} points and more behind" in report.text


def test_numbers_of_part_5_are_those_of_the_records(built):
    _, report = built
    runs = {kind: f"part5/cnn_4_{kind}" for kind in ("0.1", "adam", "one_drop_11")}
    runs["two"] = "part5/cnn_4_two_drops_11_13"
    for one, other, label in (
        ("two", "one_drop_11", "Twodrops−onedrop"), ("two", "adam", "Twodrops−Adam,30epochs"),
    ):  # fmt: skip
        row = label
        for values in (last_epoch, accuracies_of):
            pairs = zip(values(runs[one]), values(runs[other]), strict=True)
            differences = [a - b for a, b in pairs]
            mean = statistics.mean(differences)
            width = 2.776445 * statistics.stdev(differences) / math.sqrt(5)  # Student, 4 degrees
            agree = sum(d * mean > 0 for d in differences)
            row += f"{shown(mean, 2)}{shown(mean - width, 2)}to{shown(mean + width, 2)}"
            row += f"{agree}of5"
        assert row in report.dense
    gain = np.subtract(
        *([np.load(path)["val_acc_curve"][11 * 90 : 12 * 90].mean(dtype=np.float64)
           for path in sorted((RESULTS / "runs" / runs[kind]).glob("*.npz"))]
          for kind in ("one_drop_11", "0.1"))
    )  # fmt: skip
    assert f"validation accuracy is {shown(gain.mean())} points higher" in report.text


def test_the_code_is_whole_and_short(built):
    _, report = built
    for module in SHOWN:
        with tokenize.open(ROOT / module) as file:
            for line in file.read().splitlines():
                assert "".join(line.split()) in report.dense, f"{module}: {line}"
    assert "def visualizeWeights" not in report.text  # utils.py is left out
    named = {module["name"]: module["says"] for module in appendix()["named"]}
    assert {"experiments/runner.py", "experiments/records.py", "report/build.py"} <= set(named)
    assert all(name in report.text and says for name, says in named.items())
    assert len(report.pages) - report.page_of("A The code") < 20


def test_the_contents_fill_the_first_page_only(built, tmp_path):
    """With a name and without."""
    done = build_report(RESULTS, tmp_path)
    nameless = Report(tmp_path / "hw1_report.pdf")
    assert done.stdout == f"{tmp_path / 'hw1_report.pdf'}\n"
    for report in (built[1], nameless):
        assert report.page_of("1 Basic concepts") == 2
        assert report.pages[1].startswith("1 Basic concepts")
    assert nameless.page_of("A The code") == built[1].page_of("A The code")


# ---- Other results


def doctored(folder, change):
    """A copy of the committed results in which `change(part, variant, run, arrays, config)` edits
    a record, or drops it by returning False.
    """
    shutil.copytree(RESULTS, folder, ignore=shutil.ignore_patterns("*.pkl"))
    for path in folder.glob("runs/*/*/run_*.npz"):
        of_record = records.load(path)
        arrays, config = dict(of_record.arrays), dict(of_record.config)
        part, variant, run = (*path.parts[-3:-1], int(path.stem[-2:]))
        if change(part, variant, run, arrays, config) is False:
            path.unlink()
        else:
            records.save(path, arrays, config, of_record.environment)
    return folder


def test_a_sentence_that_the_results_do_not_support_is_marked_or_stops_the_build(tmp_path):
    def change(part, variant, _, arrays, __):
        if (part, variant) == ("part3", "cnn_4"):
            arrays["test_acc"] -= 20

    results = doctored(tmp_path / "results", change)
    sentence = "The CNNs generalise far better than the MLPs, and cnn_4 generalises best."
    done = build_report(results, tmp_path / "out", "--strict", status=1)
    assert f"\n- {sentence}\n" in done.stderr
    assert not list((tmp_path / "out").iterdir())
    done = build_report(results, tmp_path / "out")
    count = int(re.search(r"(\d+) sentences do not hold", done.stdout).group(1))
    report = Report(tmp_path / "out" / "hw1_report.pdf")
    assert report.text.count("not here") == count
    assert report.text.count(sentence) == 2  # where it stands, and in the list
    assert "Sentences that these results do not support" in report.text


@pytest.mark.parametrize("kind", ["single runs of drawn images", "diverged"])
def test_whatever_the_results_are_there_is_a_report(kind, tmp_path):
    def change(part, _, run, arrays, config):
        if kind == "diverged":
            for name in arrays:
                if name in ("loss_curve", "grad_curve"):
                    arrays[name] = np.full_like(arrays[name], np.nan)
                elif name.endswith("acc_curve") or name == "test_acc":
                    arrays[name] = np.full_like(arrays[name], 10)
        config["dataset"] = "synthetic"
        return kind == "diverged" or (run == 0 and part != "part4_unscaled")

    results = doctored(tmp_path / "results", change)
    weights = measure.made_of(records.read(results, "part3"))  # of fewer runs
    measured = json.loads((results / measure.FILE).read_text()) | {"made_of": weights}
    (results / measure.FILE).write_text(json.dumps(measured))
    done = build_report(results, tmp_path / "out", *PERSON)
    assert "sentences do not hold" in done.stdout
    report = Report(tmp_path / "out" / "hw1_ayse_x_y_oz_e123456_synthetic.pdf")
    assert all("synthetic" in report.pages[k] for k in (1, 8, -1))
    assert report.page_of("1 Basic concepts") == 2
    assert ("overflow" in report.text) == (kind == "diverged")
    assert ("built without the runs on unscaled" in report.text) == (kind != "diverged")


def test_longer_runs_are_reported_where_there_are_some(built, tmp_path):
    without = doctored(tmp_path / "results", lambda _, variant, *__: "long" not in variant)
    assert build_report(without, tmp_path).returncode == 0
    count = len(records.read(RESULTS, "part5")["cnn_4_0.01_long"])
    runs = ("one run", "two runs", "three runs")[count - 1]
    sentence = f"0.01 ({runs}) ends after 100 epochs"
    for report, there in ((built[1], True), (Report(tmp_path / "hw1_report.pdf"), False)):
        assert (sentence in report.text) == there
        assert ("(it is highest in epoch" in report.text) == there
        assert ("0.01toitsend−constant0.1" in report.dense) == there


@pytest.mark.slow
def test_report_of_a_demo(tmp_path):
    """All that is needed are the parts; the report measures for itself."""
    options = ("--dataset", "synthetic", "--quick", "--out", tmp_path)
    for command in (
        ("part2_conv.py", "--out", tmp_path),
        ("part3_architectures.py", *options),
        ("part4_activations.py", *options),
        ("part5_learning_rate.py", *options, "--drop-epochs", 2, 4),
        (("-m", "report.build"), "--results", tmp_path, "--out", tmp_path),
    ):
        assert_succeeds(run(*command, cwd=tmp_path))
    assert "Synthetic results" in Report(tmp_path / "hw1_report_synthetic.pdf").text


def test_all_that_is_missing_is_listed_at_once(tmp_path):
    done = build_report(tmp_path, tmp_path / "out", status=1)
    for part in ("2_conv", "3_architectures", "4_activations", "5_learning_rate"):
        assert f"\n  python part{part}.py" in done.stderr

    def change(part, variant, *_):
        return (part, variant) not in (("part3", "cnn_4"), ("part5", "cnn_4_adam"))

    results = doctored(tmp_path / "results", change)
    (results / "part4.png").unlink()
    done = build_report(results, tmp_path / "out", status=1)
    assert done.stderr.splitlines()[1:] == [
        f"  python part3_architectures.py --out {results}  # cnn_4",
        f"  python part4_activations.py --out {results}  # part4.png",
        f"  python part5_learning_rate.py --out {results}  # a network with all kinds of runs",
    ]


def test_what_is_damaged_is_named(tmp_path):
    results = doctored(tmp_path / "results", lambda *_: None)
    (results / "part2.json").write_text("[]")
    done = build_report(results, tmp_path, status=1)
    assert_one_line(done, 1, results / "part2.json", "no JSON object", "part2_conv.py")


# ---- The appendix, the name of the file, an editor's Run button


def test_sources_are_read_as_python_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr("report.build.ROOT", tmp_path)
    (tmp_path / "bom.py").write_text("x = 1\n", encoding="utf-8-sig")
    (tmp_path / "coded.py").write_text("# coding: latin-1\nx = 'ä'\n", encoding="latin-1")
    (tmp_path / "unfinished.py").write_text("def f(:\n")
    assert python_source("bom.py") == "x = 1\n"
    assert "ä" in python_source("coded.py")
    for name in ("unfinished.py", "gone.py"):
        with pytest.raises(UserError, match=rf"^{name}: cannot be read as Python \(.*\)$"):
            python_source(name)


def test_copies_that_tools_make_are_no_part_of_the_appendix(tmp_path, monkeypatch):
    for module in (*SHOWN, "experiments/runner.py", "experiments/runner - Copy.py"):
        (tmp_path / module).parent.mkdir(exist_ok=True)
        (tmp_path / module).write_text('"""It runs."""\n')
    monkeypatch.setattr("report.build.ROOT", tmp_path)
    assert appendix()["named"] == [{"name": "experiments/runner.py", "says": "It runs."}]


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (("Ada", "Lovelace", "e2345678"), "hw1_ada_lovelace_e234567.pdf"),
        (("Ayşe Işıl", "Çağlayan-Öz", "E2345678"), "hw1_ayse_isil_caglayan_oz_e234567.pdf"),
        (("Əli", "Məmmədov", "2345678"), "hw1_eli_memmedov_e234567.pdf"),
        (("李", "明", "2345678"), "hw1_li_ming_e234567.pdf"),
        (("../a/b", "O'Neill\\c:", "1234567"), "hw1_a_b_o_neill_c_e123456.pdf"),
        (("Łukasz", "Groß", "1234567"), "hw1_lukasz_gross_e123456.pdf"),
        (("", "", ""), "hw1_report.pdf"),
    ],
)
def test_file_name(person, expected):
    assert file_name(*person) == expected


@pytest.mark.parametrize(
    ("person", "said"),
    [
        (("Ada", "Lovelace", "ee234567"), "--id: 'ee234567' is not the seven digits"),
        (("Ada", "Lovelace", "١٢٣٤٥٦٧"), "--id: "),
        (("Ada", "Lovelace", ""), "--id: is missing"),
        (("Ada", "", "1234567"), "--surname: is missing"),
        (("Ada", "ᅟb", "1234567"), "--surname: the letter 'ᅟ' cannot be spelled"),
        (("!?", "Lovelace", "1234567"), "--name: '!?' has no letters"),
        (("Ada", "L" * 300, "1234567"), "--surname: too long"),
    ],
)
def test_bad_names_and_ids_are_refused(person, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        file_name(*person)


def test_refusal_is_one_line_with_status_2(tmp_path):
    person = ("--name", "Ada", "--surname", "Lovelace", "--id", "345678")
    done = build_report(tmp_path, tmp_path, *person, status=2)
    assert_one_line(done, 2, "argument --id: '345678' is not the seven digits")


def test_started_as_a_file_it_works(tmp_path):
    assert_succeeds(run("report/build.py", "--help", cwd=tmp_path, env={"PYTHONPATH": ""}))


def test_no_semicolon_is_swallowed():
    """Typst takes one right after an expression as its end and does not print it."""
    for source in (ROOT / "report").glob("*.typ"):
        found = re.search(
            r"#[\w.]+(\((?:[^()]|\([^()]*\))*\)|\.\w+)*;|\];", source.read_text("utf-8")
        )
        assert not found, f"{source.name}: {found.group()}"


# ---- What the numbers are


def test_formulas_give_what_pytorch_counts():
    assert list(PARAMETERS) == list(ARCHITECTURES)
    for name, counts in PARAMETERS.items():
        layers = [layer for layer in build(name) if any(True for _ in layer.parameters())]
        assert counts == [num_parameters(layer) for layer in layers]


def test_intervals_of_means():
    """Of Student (1908), hours of sleep of ten patients with two drugs, paired and by Welch."""
    one = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    two = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    assert facts.paired(two, one) == pytest.approx(
        {"mean": 1.58, "low": 0.70, "high": 2.46, "agree": 9, "pairs": 10}, abs=5e-3
    )
    assert facts.unpaired(two, one) == pytest.approx(
        {"mean": 1.58, "low": -0.2054832, "high": 3.3654832}
    )
    for alone in (facts.paired([2.0], [1.0]), facts.unpaired([2.0], [1.0, 1.0])):
        assert (alone["mean"], math.isnan(alone["low"]), math.isnan(alone["high"])) == (1, 1, 1)


def test_runs_are_compared_by_seed():
    one, other = (
        [record(accuracy, {"seed": seed}) for seed, accuracy in of_kind.items()]
        for of_kind in ({0: 60.0, 1: 61.0, 3: 63.0}, {3: 52.5, 1: 51.5})
    )
    found = facts.by_seed(one, other, lambda r: r.test_acc)
    assert (found["mean"], found["pairs"]) == (10, 2)
    assert found["high"] - found["mean"] == pytest.approx(12.7062 * 0.5, abs=1e-3)
    assert facts.by_seed(one, [], lambda r: r.test_acc)["pairs"] == 0


def test_of_several_schedules_those_with_one_first_drop_are_compared():
    def config(drops):
        return {"architecture": "cnn_4", "drop_epochs": drops}

    drops = {"one_drop_5": [5], "one_drop_7": [7], "two_drops_7_9": [7, 9], "two_drops_8_9": [8, 9]}
    variants = {f"cnn_4_{kind}": [record(config=config(d))] for kind, d in drops.items()}
    variants["mlp_2_two_drops_1_2"] = [record(config={"architecture": "mlp_2", "drop_epochs": [1]})]
    found = facts.runs_of_part5("cnn_4", variants)
    assert {kind: runs[0].config["drop_epochs"] for kind, runs in found.items()} == {
        "one drop": [7], "two drops": [7, 9],
    }  # fmt: skip


def test_numbers_of_curves():
    by_epoch = np.array([10.0, 30.0, 40.0])
    assert facts.epochs_until(20, by_epoch) == 1.0  # halfway between the middles of two epochs
    assert facts.epochs_until(10, by_epoch) == 0.5
    assert math.isnan(facts.epochs_until(41, by_epoch))
    assert facts.first_epoch(by_epoch >= 30) == 2
    assert math.isnan(facts.first_epoch(by_epoch > 40))
    assert (facts.late_rise(by_epoch), facts.late_rise(by_epoch, 1)) == (30, 10)
    flat, rising = [0, 0, 0, 0], [10 + 1, 20 - 1, 30 - 1, 40 + 1]
    of_run = record(config={"epochs": 2}, val_acc_curve=flat + rising)
    assert facts.scatter(of_run, 1) < 1e-9
    assert facts.scatter(of_run, 2) == pytest.approx(1, abs=1e-6)  # about the trend
    of_runs = [record(config={"epochs": 2}, train_acc_curve=[50, 60], val_acc_curve=v)
               for v in ([49, 57], [45, 53])]  # fmt: skip
    assert facts.gap_at(55, of_runs) == 4
    grads = ([1] * 10 + [0] * 9 + [1], [1] * 10 + [0] * 8 + [1] * 2, [0] * 10 + [1] * 10)
    of_runs = [record(config={"epochs": 2}, grad_curve=g) for g in grads]
    assert facts.dead_runs({"mlp_1_relu": of_runs}) == {"mlp_1_relu": 1}


def test_areas_are_shares_of_pairs_and_ties_count_half():
    generator = np.random.default_rng(0)
    scores, labels = generator.integers(0, 5, (60, 3)), np.arange(60) % 10
    expected = [
        [np.mean([(a > b) + (a == b) / 2 for a in column[labels == c] for b in column[labels != c]])
         for c in range(10)]
        for column in scores.T
    ]  # fmt: skip
    np.testing.assert_allclose(measure.roc_areas(scores, labels), expected)


def test_responses_and_adjacent_weights_by_hand():
    kernel, image = torch.tensor([[[[1.0, -1.0]]]]), torch.tensor([[[[0.0, 3.0, 1.0]]]])
    found = measure.responses(kernel, image)  # -3 and 2
    assert (found["largest"].item(), found["magnitude"].item()) == (2, 2.5)
    unit, picture = torch.tensor([[1.0, -2.0]]), torch.tensor([[[[1.0, 1.0]]]])
    found = measure.responses(unit, picture)
    assert (found["largest"].item(), found["magnitude"].item()) == (-1, 1)
    assert measure.adjacent_correlation(np.arange(9.0).reshape(1, 1, 3, 3)) == pytest.approx(
        np.corrcoef([0, 1, 3, 4, 6, 7, 0, 1, 2, 3, 4, 5], [1, 2, 4, 5, 7, 8, 3, 4, 5, 6, 7, 8])[
            0, 1
        ]
    )


def test_measurements_are_made_once_for_the_same_records(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "SEEDS", 2)
    data_sha256 = sha256(first_of_each_class(draw_synthetic()))
    for name in measure.SHOWN:
        for config in part3.configure(name, dataset="synthetic", quick=True).replicate(2):
            torch.manual_seed(config.seed)
            weights = measure.first_layer(build(name)).weight.detach()
            write_record(config, tmp_path, [1.0] * 15, data_sha256, weights=weights)
    of_part3 = records.read(tmp_path, "part3")
    found = measure.measurements(of_part3, tmp_path, tmp_path)
    for states in found["units"].values():
        assert states["trained"] == states["untrained"]  # they were not trained
    assert found["start"]["cnn_5"]["sigmoid"]["factors"] == pytest.approx([0.144] * 5, rel=0.1)
    assert (tmp_path / measure.FIGURE).exists()
    with monkeypatch.context() as patch:
        patch.setattr(measure, "measure", None)
        assert measure.measurements(of_part3, tmp_path, tmp_path) == found
    (tmp_path / measure.FILE).write_text("{")
    assert measure.measurements(of_part3, tmp_path, tmp_path) == found
    changed = {
        name: [Record(r.path, r.config | {"data_sha256": "0"}, {}, r.arrays) for r in runs]
        for name, runs in of_part3.items()
    }
    with pytest.raises(UserError, match="trained on other images"):
        measure.measurements(changed, tmp_path, tmp_path)
