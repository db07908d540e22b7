"""Typeset the report: answers, figures and code, from a folder of results.

    python -m report.build --name Ada --surname Lovelace --id 2345678
    python -m report.build                     # results/hw1_report.pdf, without a person's name
    python -m report.build --results results/reference

Every number comes from the records, from part 2's files and from RESULTS/measurements.json, which
is made if it is missing or of other records. Sentences that do not hold for these results are
marked and listed in the PDF; --strict stops there instead.
"""

import ast
import json
import re
import shutil
import sys
import tempfile
import tokenize
from pathlib import Path

if not __package__:  # started as a file, as by an editor's Run button
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import typst
from anyascii import anyascii

from experiments import ends, options, records
from experiments.storage import UserError, write_atomically
from report import facts, measure
from report.parameters import PARAMETERS
from report.summary import PARTS, Variants

ROOT = Path(__file__).resolve().parent.parent
# The appendix: "the well-commented code of parts 2 to 5", without utils.py, and what belongs to it
SHOWN = (
    "part2_conv.py", "part3_architectures.py", "part4_activations.py", "part5_learning_rate.py",
    "models.py", "data.py", "experiments/training.py", "report/measure.py",
)  # fmt: skip
PART2 = ("part2.png", "part2_kernels.png", "part2_out.npy", "part2.json")
PART3 = ("part3.png", "part3_spread.png",
         *(f"part3_weights_{name}.png" for name in PARAMETERS))  # fmt: skip
PART4 = ("part4.png", "part4_spread.png")


# ---- The name of the PDF


def spell(name: str) -> str:
    """Spell a name for a file's name: ASCII, lower case, underscores.

    Raises ValueError if that would lose a letter or leave nothing.
    """
    for letter in name:
        if letter.isalpha() and not anyascii(letter).strip():
            raise ValueError(f"the letter {letter!r} cannot be spelled with A to Z")
    words = re.findall("[a-z0-9]+", anyascii(name).lower())
    if not words:
        raise ValueError(f"{name!r} has no letters")
    return "_".join(words)


def student_digits(text: str) -> str:
    """Return the seven digits of a student ID, which may have an `e` before them.

    Raises ValueError if they are not seven.
    """
    digits = text.strip().lower().removeprefix("e")
    if not re.fullmatch("[0-9]{7}", digits):
        raise ValueError(f"{text!r} is not the seven digits of a student ID")
    return digits


def file_name(name: str, surname: str, student_id: str) -> str:
    """Return the name that the assignment asks for, or one without a person.

    The user ID in it is the first six digits of the student ID. Raises ValueError if only some of
    the three are given, or if one of them cannot be part of a file's name.
    """
    given = {"name": name, "surname": surname, "id": student_id}
    if not any(given.values()):
        return "hw1_report.pdf"
    words = []
    for option, value in given.items():
        try:
            if not value:
                raise ValueError("is missing (give all three or none)")
            words.append(spell(value) if option != "id" else f"e{student_digits(value)[:6]}")
        except ValueError as error:
            raise ValueError(f"argument --{option}: {error}") from error
    stem = "_".join(["hw1", *words])
    if len(stem) > 200:
        raise ValueError("arguments --name, --surname: too long for the name of a file")
    return f"{stem}.pdf"


# ---- What the report is made of


def missing(parts: dict[str, Variants], results: Path) -> list[str]:
    """Return a line for each command that makes something the report needs and `results` lacks.

    What part 4 trains with an option may be missing altogether.
    """
    part4 = {f"{name}_{activation}" for name in PARAMETERS for activation in ("relu", "sigmoid")}
    wanted = [  # the command, the records and the files that are needed of it
        ("part2_conv.py --samples FILE --kernel FILE", set(), PART2),
        ("part3_architectures.py", set(PARAMETERS) - set(parts["part3"]), PART3),
        ("part4_activations.py", part4 - set(parts["part4"]), PART4),
    ]
    for kind, names in (("unscaled", tuple(PARAMETERS)), ("initialized", ("cnn",))):
        if recorded := set(parts[f"part4_{kind}"]):
            absent = {variant for variant in part4 if variant.startswith(names)} - recorded
            wanted.append((f"part4_activations.py --{kind}", absent, ()))
    if architecture := facts.reported_architecture(parts):
        ends5 = ["", "_schedules"]
        ends5 += ["_long"] * ("0.01 long" in facts.runs_of_part5(architecture, parts["part5"]))
        figures5 = [f"part5_{architecture}{end}.png" for end in ends5]
        wanted.append(("part5_learning_rate.py", set(), figures5))
    else:
        wanted.append(("part5_learning_rate.py", {"a network with all kinds of runs"}, ()))

    config = next((r[0].config for variants in parts.values() for r in variants.values()), {})
    data = " --dataset synthetic" * (config.get("dataset") == "synthetic")
    data += " --quick" * config.get("quick", False)
    lines = []
    for command, lacking, files in wanted:
        absent = [*sorted(lacking), *(file for file in files if not (results / file).exists())]
        if absent:
            out = f"--out {results}" + data * (not command.startswith("part2"))
            more = f" and {len(absent) - 3} more" * (len(absent) > 3)
            lines.append(f"python {command} {out}  # {', '.join(absent[:3])}{more}")
    return lines


def python_source(name: str) -> str:
    """Read a module as Python does. Raises UserError if it cannot be read or parsed."""
    try:
        with tokenize.open(ROOT / name) as file:
            source = file.read()
        ast.parse(source)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{name}: cannot be read as Python ({error})") from error
    return source


def appendix() -> dict[str, list[dict[str, str]]]:
    """Return the modules that are shown, and what the others say about themselves."""
    named = []
    for path in sorted([*ROOT.glob("experiments/*.py"), *ROOT.glob("report/*.py")]):
        name = f"{path.parent.name}/{path.name}"
        if path.stem.isidentifier() and path.stem != "__init__" and name not in SHOWN:  # no copies
            docstring = ast.get_docstring(ast.parse(python_source(name))) or ""
            named.append({"name": name, "says": docstring.partition("\n")[0]})
    shown = [{"name": name, "text": python_source(name).strip()} for name in SHOWN]
    return {"shown": shown, "named": named}


def typeset(known: dict, results: Path) -> tuple[bytes, list[str]]:
    """Return the PDF, and the sentences in it that these results do not support.

    All that Typst reads is put in one folder, so it reads nothing elsewhere.
    """
    with tempfile.TemporaryDirectory() as folder:
        stage = Path(folder)
        here = ROOT / "report"
        for file in (*here.glob("*.typ"), here / "references.yml", *results.glob("part*.png")):
            shutil.copy(file, stage)
        for name, value in (("facts", known), ("code", appendix())):
            text = json.dumps(value, allow_nan=False)
            (stage / f"{name}.json").write_text(text, encoding="utf-8")
        try:
            report = typst.Compiler(stage / "report.typ", root=stage, ignore_system_fonts=True)
            pdf = report.compile()
            unsupported = json.loads(report.query("<unsupported>", field="value"))
        except typst.TypstError as error:
            place = re.search(r"\w+\.typ:\d+", str(getattr(error, "diagnostic", "")))
            where = place.group() if place else "report.typ"
            raise UserError(f"{where}: cannot be typeset: {error}") from error
    return pdf, unsupported


def main() -> None:
    parser = options.Parser(__doc__)
    add = parser.add_argument
    add("--name", default="", help="without name, surname and id: hw1_report.pdf")
    add("--surname", default="")
    add("--id", default="", help="the seven digits of the student ID")
    add("--results", type=options.path, default="results", help="default: %(default)s")
    add("--out", type=options.path, help="default: the results folder")
    add("--strict", action="store_true", help="a sentence that does not hold stops the build")
    options.add_data_dir(parser)
    given = parser.parse_args()
    person = [" ".join(text.split()) for text in (given.name, given.surname, given.id)]
    try:
        path = (given.out or given.results) / file_name(*person)
    except ValueError as error:
        parser.error(str(error))
    parts = records.read_parts(given.results, PARTS)
    if lines := missing(parts, given.results):
        raise UserError("\n  ".join([f"{given.results}: not complete; make it so with", *lines]))
    options.check_writable(parser, path.parent)
    measured = measure.measurements(parts["part3"], given.data_dir, given.results)
    known = facts.collect(parts, measured, given.results)
    if known["dataset"] == "synthetic":
        path = path.with_stem(f"{path.stem}_synthetic")
    known |= {"name": " ".join(person[:2]).strip(), "id": person[2]}
    pdf, unsupported = typeset(known, given.results)
    count = f"{len(unsupported)} sentence{'s do' if len(unsupported) > 1 else ' does'} not hold"
    if unsupported and given.strict:
        heading = f"{count} for {given.results}; rewrite what they say, and their conditions"
        raise UserError("\n- ".join([heading, *unsupported]))
    write_atomically(path, pdf)
    print(path)
    if unsupported:
        print(f"{count} for these results, as marked and listed in it")
    samples = known["part2"]["samples"] or "built-in digits"
    if given.id and samples != (asked := f"samples_{student_digits(given.id)[-1]}.npy"):
        print(
            f"note: this ID asks for {asked}; part 2 shows {samples}. For yours type: python "
            f"part2_conv.py --samples {asked} --kernel kernel.npy --out {given.results}"
        )


if __name__ == "__main__":
    ends.run(main)
