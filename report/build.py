"""Typeset the report: answers, figures and the code of all parts, from a folder of results.

    python -m report.build --name Ada --surname Lovelace --id 2345678
    python -m report.build                     # report/hw1_report.pdf, without a person's name

Every number comes from RESULTS/summary.json (python -m report.summary), RESULTS/measurements.json
(python -m report.measure), part 2's files and the records. What the prose says about them is
checked (claims.py). Sentences that do not hold for these results are marked and listed; --strict
stops there instead.
"""

import ast
import json
import re
import shutil
import tempfile
import unicodedata
from pathlib import Path

from experiments import cli
from experiments.storage import UserError, write_atomically

import typst

from models import ARCHITECTURES
from report import claims, facts

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# The appendix: "the well-commented code of parts 2 to 5", without utils.py
PARTS = sorted(path.name for path in ROOT.glob("part?_*.py"))
MODULES = ["models.py", "data.py", "experiments/training.py"]
FURTHER = sorted(f"experiments/{p.name}" for p in (ROOT / "experiments").glob("*.py")
                  if p.name not in ("__init__.py", "training.py"))  # fmt: skip
FIGURES = {  # by name, the script that draws it; {} is the architecture of part 5
    "part2": "part2_conv.py --samples FILE --kernel FILE",
    "part2_kernels": "part2_conv.py --samples FILE --kernel FILE",
    "part3": "part3_architectures.py",
    "part3_spread": "part3_architectures.py",
    **{f"part3_weights_{name}": "part3_architectures.py" for name in ARCHITECTURES},
    "part3_units": "-m report.measure",
    "part4_start": "-m report.measure",
    "part4": "part4_activations.py",
    "part4_spread": "part4_activations.py",
    "part4_unscaled": "part4_activations.py --unscaled",
    "part4_initialized": "part4_activations.py --initialized",
    "part5_{}": "part5_learning_rate.py",
    "part5_{}_spread": "part5_learning_rate.py",
    "part5_{}_schedules": "part5_learning_rate.py",
}
PARTS_OF_OPTIONS = ("part4_unscaled", "part4_initialized")
# Letters that Unicode does not decompose into one of ASCII and an accent
LETTERS = str.maketrans(
    {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ß": "ss", "æ": "ae", "œ": "oe"}
)


def spell(name: str) -> str:
    """Spell a name for a file's name: ASCII, lower case, underscores; perhaps nothing is left."""
    letters = unicodedata.normalize("NFKD", name.lower().translate(LETTERS))
    ascii_letters = "".join(c for c in letters if not unicodedata.combining(c))
    return "_".join(re.findall("[a-z0-9]+", ascii_letters))


def student_digits(text: str) -> str:
    """Return the seven digits of a student ID, which may have an `e` before them.

    Raises ValueError if they are not seven.
    """
    digits = text.strip().lower().removeprefix("e")
    if not re.fullmatch("[0-9]{7}", digits):
        raise ValueError(f"argument --id: {text!r} is not the seven digits of a student ID")
    return digits


def file_name(name: str, surname: str, student_id: str) -> str:
    """Return the name that the assignment asks for, or one without a person.

    The user ID in it is the first six digits of the student ID. Raises ValueError if only some of
    the three are given, or if one of them cannot be part of a file's name.
    """
    given = {"--name": name, "--surname": surname, "--id": student_id}
    if not any(given.values()):
        return "hw1_report.pdf"
    for option, value in given.items():
        if not value:
            raise ValueError(f"argument {option}: is missing (give all three or none)")
    for option in ("--name", "--surname"):
        if not spell(given[option]):
            raise ValueError(f"argument {option}: {given[option]!r} needs letters from A to Z")
    stem = f"hw1_{spell(name)}_{spell(surname)}_e{student_digits(student_id)[:6]}"
    if len(stem) > 200:
        raise ValueError("arguments --name, --surname: too long for the name of a file")
    return f"{stem}.pdf"


def read_summary(results: Path) -> dict:
    """Read RESULTS/summary.json. Raises UserError if something that the report needs is missing."""
    path, make = results / "summary.json", f"python -m report.summary --out {results}"
    summary = facts.read_json(path, make)
    if "dataset" not in summary:
        raise UserError(f"{path}: cannot be read (no dataset in it); make it with: {make}")
    options = f"--out {results}" + (summary["dataset"] == "synthetic") * " --dataset synthetic"
    options += (results.name in ("synthetic", "quick")) * " --quick"
    if problem := missing(summary, results):
        what, command = problem
        wanted = options if command.startswith(("part3", "part4", "part5")) else f"--out {results}"
        raise UserError(f"{what}; make it with: python {command} {wanted}, then {make}")
    return summary


def missing(summary: dict, results: Path) -> tuple[str, str] | None:
    """Return the first thing that is missing and its script.

    What part 4 trains with an option may be missing altogether.
    """
    absent = [part for part in PARTS_OF_OPTIONS if not summary.get(part)]
    for part in (p for p in ("part3", "part4", *PARTS_OF_OPTIONS) if p not in absent):
        for name in facts.CNNS if part == "part4_initialized" else ARCHITECTURES:
            row = summary.get(part, {}).get(name)
            if row is None or (part != "part3" and {"relu", "sigmoid"} - set(row)):
                return f"{results / 'summary.json'}: {part} has no {name}", FIGURES[part]
    architecture = facts.reported_architecture(summary)
    variants = summary["part5"][architecture] if architecture else {}
    drops = {len(variant["drop_epochs"]) for variant in variants.values()}
    if not {"lr_0.1", "lr_0.01", "lr_0.001", "adam"} <= set(variants) or not {1, 2} <= drops:
        return f"{results / 'summary.json'}: part5 is not complete", "part5_learning_rate.py"
    files = {
        f"{figure.format(architecture)}.png": script
        for figure, script in FIGURES.items()
        if figure not in absent
    }
    files |= {"part2_out.npy": FIGURES["part2"], "part2.json": FIGURES["part2"]}
    files["measurements.json"] = FIGURES["part3_units"]
    for file, command in files.items():
        if not (results / file).exists():
            return f"{results / file}: missing", command
    return None


def segments(source: str) -> list[dict]:
    """Split a module so that no page break splits a docstring or separates it from its `def`."""
    wholes = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            decorators = getattr(node, "decorator_list", [])
            start = min((d.lineno for d in decorators), default=getattr(node, "lineno", 1))
            wholes.append((start - 1, node.body[0].end_lineno or start))
    lines, found, end = source.splitlines(), [], 0
    for start, stop in sorted(wholes):
        found.append({"whole": False, "text": "\n".join([*lines[end:start], ""])})
        found.append({"whole": True, "text": "\n".join(lines[start:stop])})
        end = stop
    found.append({"whole": False, "text": "\n".join(lines[end:])})
    return [segment for segment in found if segment["text"].strip()]


def typeset(known: dict, results: Path) -> bytes:
    """Return the PDF. All that Typst reads is put in one folder, so it reads nothing elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        for source in (*HERE.glob("*.typ"), HERE / "references.yml"):
            shutil.copy(source, stage)
        for figure in results.glob("part*.png"):
            shutil.copy(figure, stage)
        code = {
            name: segments((ROOT / name).read_text(encoding="utf-8"))
            for name in (*PARTS, *MODULES, *FURTHER)
        }
        for name, value in (("facts", known), ("code", code)):
            text = json.dumps(value, allow_nan=False)
            (stage / f"{name}.json").write_text(text, encoding="utf-8")
        try:
            return typst.compile(stage / "report.typ", root=stage, ignore_system_fonts=True)
        except typst.TypstError as error:
            place = re.search(r"\w+\.typ:\d+", str(getattr(error, "diagnostic", "")))
            where = place.group() if place else "report.typ"
            raise UserError(f"{where}: cannot be typeset: {error}") from error


def main() -> None:
    parser = cli.Parser(__doc__)
    add = parser.add_argument
    add("--name", default="", help="without name, surname and id: hw1_report.pdf")
    add("--surname", default="")
    add("--id", default="", help="the seven digits of the student ID")
    add("--results", type=cli.path, default=ROOT / "results", help="default: results")
    add("--out", type=cli.path, default=ROOT / "report", help="default: report")
    add("--strict", action="store_true", help="a claim that does not hold stops the build")
    options = parser.parse_args()
    person = [" ".join(text.split()) for text in (options.name, options.surname, options.id)]
    try:
        path = options.out / file_name(*person)
    except ValueError as error:
        parser.error(str(error))
    cli.check_writable(parser, options.out)

    try:
        summary = read_summary(options.results)
        if summary["dataset"] == "synthetic":
            path = path.with_stem(f"{path.stem}_synthetic")
        known = facts.collect(summary, options.results)
    except KeyError as error:  # made by another version, or of other records
        raise UserError(
            f"{options.results}: {error} is missing in summary.json, measurements.json or the "
            f"records; make the files anew with: python -m report.summary --out {options.results}, "
            f"python -m report.measure --out {options.results}"
        ) from error
    known["failed"] = claims.failed(known)
    if known["failed"] and options.strict:
        name, claim = next(iter(known["failed"].items()))
        raise UserError(
            f"the report claims that {claim['says']}, but the results say otherwise "
            f"({name}: {claim['numbers']}); rewrite what it says, then the claim"
        )
    known |= {"name": " ".join(person[:2]).strip(), "id": person[2], "parts": PARTS,
              "modules": MODULES, "further": FURTHER}  # fmt: skip
    pdf = typeset(known, options.results)
    write_atomically(path, pdf)
    print(path)
    if known["failed"]:
        count = f"{len(known['failed'])} of {len(claims.CLAIMS)}"
        print(f"{count} claims do not hold for these results; they are marked and listed in it")
    samples = known["from2"]["files"]["samples"]
    if options.id and samples:
        asked = f"samples_{student_digits(options.id)[-1]}.npy"  # "X is your last digit"
        if samples != asked:
            print(
                f"note: this ID asks for {asked}; part 2 shows {samples} (part2_conv.py --samples)"
            )


if __name__ == "__main__":
    cli.run(main)
