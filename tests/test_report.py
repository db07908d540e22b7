"""The report: it builds, says what the results say, and stops where they say otherwise."""

import json
import re
import shutil

import pytest
from conftest import ROOT, run_script
from helpers_report import build_report, make_up, text_of
from pypdf import PdfReader

from files import UserError
from models import ARCHITECTURES, build, num_parameters
from report.build import MODULES, PARTS, file_name, missing, read_summary
from report.parameters import PARAMETERS
from tables import accuracy_text

QUESTIONS = [
    "1.1", "1.2", *(f"1.3.{k}" for k in (1, 2, 3)), "1.4.1", "1.4.2",
    *(f"2.2.{k}" for k in range(1, 7)), *(f"3.2.{k}" for k in range(1, 11)),
    *(f"4.2.{k}" for k in (1, 2, 3)), *(f"5.2.{k}" for k in (1, 2, 3, 4)),
]  # fmt: skip


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    out = tmp_path_factory.mktemp("made_up")
    make_up(out)
    return out


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
        for training in row["trainings"].values():
            assert f"{training['test_acc_mean']:.2f}" in text
    for module in (*PARTS, *MODULES):
        for line in (ROOT / f"{module}.py").read_text(encoding="utf-8").splitlines():
            assert "".join(line.split()) in dense, f"{module}: {line}"
    assert "def visualizeWeights" not in text  # utils.py is left out
    assert not re.search(r"TODO|FIXME|XXX|lorem|placeholder|\bnone\b~|\?\?", text)
    return text


def flatten(outline):
    for entry in outline:
        yield from flatten(entry) if isinstance(entry, list) else [entry]


def test_formulas_give_what_pytorch_counts():
    assert list(PARAMETERS) == list(ARCHITECTURES)
    for name, counts in PARAMETERS.items():
        model = build(name)
        layers = [layer for layer in model if any(True for _ in layer.parameters())]
        assert counts == [num_parameters(layer) for layer in layers]
        assert sum(counts) == num_parameters(model)


@pytest.mark.parametrize(
    ("person", "expected"),
    [
        (("Ada", "Lovelace", "2345678"), "hw1_ada_lovelace_e2345678.pdf"),
        (("Ayşe Işıl", "Çağlayan-Öz", "234567"), "hw1_ayse_isil_caglayan_oz_e234567.pdf"),
        (("İnci", "Ğ", "1234567"), "hw1_inci_g_e1234567.pdf"),
        (("../a/b", "O'Neill\\c:", "1234567"), "hw1_a_b_o_neill_c_e1234567.pdf"),
        (("Łukasz", "Groß", "1234567"), "hw1_lukasz_gross_e1234567.pdf"),
        (("", "", ""), "hw1_report.pdf"),
    ],
)
def test_file_name(person, expected):
    assert file_name(*person) == expected


@pytest.mark.parametrize(
    ("person", "option"),
    [
        (("Ada", "Lovelace", "e234567"), "--id"),
        (("Ada", "Lovelace", "12345"), "--id"),
        (("Ada", "Lovelace", "12345678"), "--id"),
        (("Ada", "Lovelace", "١٢٣٤٥٦٧"), "--id"),
        (("Ada", "", "1234567"), "--surname"),
        (("李", "明", "1234567"), "--name"),
        (("Ada", "L" * 300, "1234567"), "--surname"),
    ],
)
def test_bad_names_and_ids_are_refused(person, option):
    with pytest.raises(ValueError, match=option):
        file_name(*person)


def test_refusal_is_one_line_with_status_2(tmp_path):
    person = ("--name", "Ada", "--surname", "Lovelace", "--id", "e2345678")
    done = build_report(tmp_path, tmp_path, *person, status=2)
    assert "argument --id: 'e2345678' is not 6 or 7 digits" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_report_of_made_up_results(made_up, tmp_path):
    name = ("--name", "Ayşe #[*x*] $y$", "--surname", "Öz", "--id", "1234567")
    done = build_report(made_up, tmp_path, *name)
    path = tmp_path / "hw1_ayse_x_y_oz_e1234567.pdf"
    assert done.stdout.startswith(f"{path}\nnote: this ID asks for samples_7.npy; part 2 shows ")
    text = check_content(path, made_up)
    assert "Ayşe #[*x*] $y$ Öz, 1234567" in text
    assert "overflow" in text  # the losses that are not finite
    reader = PdfReader(path)
    assert 20 < len(reader.pages) < 80
    assert [float(x) for x in reader.pages[0].mediabox[2:]] == pytest.approx(
        [595.3, 841.9], abs=0.1
    )


def test_same_results_give_the_same_report(made_up, tmp_path):
    for folder in ("one", "two"):
        done = build_report(made_up, tmp_path / folder)
        assert done.stdout.strip() == str(tmp_path / folder / "hw1_report.pdf")
    assert (tmp_path / "one/hw1_report.pdf").read_bytes() == (
        tmp_path / "two/hw1_report.pdf"
    ).read_bytes()


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("summary.json", "summary.py"),
        ("part3_weights_cnn_4.png", "part3_architectures.py"),
        ("part4_unscaled.png", "part4_activations.py --unscaled"),
        ("part5_cnn_4_schedules.png", "part5_learning_rate.py"),
        ("part2.json", "part2_conv.py"),
        ("part2_out.npy", "part2_conv.py"),
    ],
)
def test_missing_file_is_named_with_its_command(path, command, made_up, tmp_path):
    results = shutil.copytree(made_up, tmp_path / "results")
    (results / path).unlink()
    with pytest.raises(UserError) as raised:
        read_summary(results)
    assert path in str(raised.value)
    assert f"python {command}" in str(raised.value)


def test_missing_results_are_one_line_with_status_1(tmp_path):
    done = build_report(tmp_path / "nothing", tmp_path, status=1)
    assert "summary.json: missing; make it with: python summary.py --out" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_incomplete_or_damaged_summary_is_refused(made_up, tmp_path):
    numbers = read_summary(made_up)
    results = shutil.copytree(made_up, tmp_path / "results")
    del numbers["part3"]["cnn_4"]
    for text, word in (
        (json.dumps(numbers), "part3 has no cnn_4"),
        ("{", "damaged"),
        ("[]", "dam"),
    ):
        (results / "summary.json").write_text(text)
        with pytest.raises(UserError, match=word):
            read_summary(results)


def test_report_of_the_committed_results(tmp_path):
    results = ROOT / "results"
    try:
        problem = missing(json.loads((results / "summary.json").read_text()), results)
    except FileNotFoundError as error:
        problem = error.filename, "summary.py"
    if problem:
        pytest.skip(f"the committed results are not complete: {problem[0]}")
    build_report(results, tmp_path)
    text = check_content(tmp_path / "hw1_report.pdf", results)
    assert "Synthetic results" not in text


@pytest.mark.slow
def test_report_of_a_demo(tmp_path):
    """What make demo and make figures do, the summary and the report of it."""
    options = ("--dataset", "synthetic", "--quick", "--out", tmp_path)
    demo = {
        "part2_conv.py": ("--out", tmp_path),
        "part3_architectures.py": options,
        "part4_activations.py": options,
        "part5_learning_rate.py": (*options, "--drop-epochs", 3, 6),
    }
    for further in ((), ("--plot-only",)):
        for script, arguments in demo.items():
            run_script(script, *arguments, *further)
    run_script("summary.py", "--out", tmp_path)
    build_report(tmp_path, tmp_path)
    assert "Synthetic results" in check_content(tmp_path / "hw1_report_synthetic.pdf", tmp_path)
