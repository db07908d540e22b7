"""Collect the numbers of all parts from the records: OUT/summary.json and the README's tables.

    python -m report.summary                        # results/summary.json, tables on the screen
    python -m report.summary --readme README.md     # and between the two markers of that file

"Final" is the mean over the last epoch of a run, because a single point is noisy. "Best" is
the best epoch's mean. Test accuracies are mean ± standard deviation over the runs (n - 1 in the
denominator). The best of several runs, which the assignment asks for, is an optimistic number.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments import cli
from experiments.aggregate import epoch_means, final, mean_curve
from experiments.records import Record, read_variants
from experiments.storage import UserError, write_atomically

import numpy as np

from models import ARCHITECTURES, build, num_parameters

BEGIN, END = "<!-- tables of report.summary -->", "<!-- end of tables -->"
Variants = dict[str, list[Record]]  # the records of a part, by the names of their folders
# What part 4 trains, and how the README calls it
KINDS = {"part4": "", "part4_unscaled": ", inputs 0 to 255", "part4_initialized": ", initialized"}


def deviation(values: Sequence[float]) -> float | None:
    """Return the standard deviation of a sample, None for a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def test_accuracies(records: Sequence[Record]) -> dict:
    """Return mean, standard deviation (None for a single run) and best over the runs, percent."""
    values = [record.test_acc for record in records]
    return {
        "runs": len(values),
        "test_acc_mean": float(np.mean(values)),
        "test_acc_std": deviation(values),
        "test_acc_best": max(values),
    }


def summarise_part3(variants: Variants) -> dict:
    """Return by architecture: size, accuracies and their gap in percent, seconds for a run."""
    rows = {}
    for name, records in variants.items():
        train_acc = float(final(records, "train_acc_curve").mean())
        val_acc = float(final(records, "val_acc_curve").mean())
        rows[name] = {
            "parameters": num_parameters(build(name)),
            "epochs": records[0].config["epochs"],
            **test_accuracies(records),
            "train_acc_final": train_acc,
            "val_acc_final": val_acc,
            "gap": train_acc - val_acc,
            "seconds_per_run": float(np.median([r.environment["seconds"] for r in records])),
        }
    return rows


def summarise_part4(variants: Variants) -> dict:
    """Return by architecture and activation: the first point, and the mean over the last epoch."""
    rows: dict[str, dict] = {}
    for variant, records in variants.items():
        name, _, activation = variant.rpartition("_")
        rows.setdefault(name, {})[activation] = {
            "epochs": records[0].config["epochs"],
            **test_accuracies(records),
            "loss_first": float(np.mean([record["loss_curve"][0] for record in records])),
            "loss_last": float(final(records, "loss_curve").mean()),
            "grad_first": float(np.mean([record["grad_curve"][0] for record in records])),
            "grad_last": float(final(records, "grad_curve").mean()),
        }
    return rows


def summarise_part5(variants: Variants) -> dict:
    """Return by architecture: each variant with its learning rates and drops."""
    rows: dict[str, dict] = {}
    for variant, records in variants.items():
        config = records[0].config
        row = rows.setdefault(config["architecture"], {})
        row[variant.removeprefix(f"{config['architecture']}_")] = {
            "optimizer": config["optimizer"],
            "learning_rates": config["learning_rates"],
            "drop_epochs": config["drop_epochs"],
            "epochs": config["epochs"],
            **test_accuracies(records),
            "train_acc_final": float(final(records, "train_acc_curve").mean()),
            "val_acc_final": float(final(records, "val_acc_curve").mean()),
            "val_acc_best": float(
                epoch_means(
                    np.array(mean_curve(records, "val_acc_curve")), config["epochs"]
                ).max()
            ),
        }  # fmt: skip
    return rows


def summarise(out: Path) -> dict:
    """Return all numbers, as they stand in summary.json."""
    parts = {part: read_variants(out, part) for part in ("part3", *KINDS, "part5")}
    summary = {
        "part3": summarise_part3(parts["part3"]),
        **{part: summarise_part4(parts[part]) for part in KINDS},
        "part5": summarise_part5(parts["part5"]),
    }
    records = [r for variants in parts.values() for runs in variants.values() for r in runs]
    if not records:
        raise UserError(f"{out}: no records below; run part3_architectures.py --out {out} first")
    if len({record.config["data_sha256"] for record in records}) > 1:
        raise UserError(f"{out}: its records were trained on different data")
    config = records[0].config
    known = {"dataset": config["dataset"], "data_sha256": config["data_sha256"]}
    return known | without_nan(summary)


def without_nan(value: Any) -> Any:
    """Return a copy in which what is not finite, as the loss of a diverged run, is None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- The numbers as texts, and the tables of the README


def accuracy_text(row: dict) -> str:
    """Format a test accuracy: mean ± standard deviation, or the value of a single run."""
    if row["test_acc_std"] is None:
        return f"{row['test_acc_mean']:.2f}"
    return f"{row['test_acc_mean']:.2f} ± {row['test_acc_std']:.2f}"


def number_text(value: float | None, form: str) -> str:
    """Format `value`; None becomes "overflow", values from 1000 use scientific notation."""
    if value is None:
        return "overflow"
    text = f"{value:.1e}" if form.endswith("f") and abs(value) >= 1000 else f"{value:{form}}"
    if not text.strip("-0."):
        return text.strip("-")  # -0.04 is 0.0 and not −0.0
    return "\N{MINUS SIGN}" + text[1:] if text.startswith("-") else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _part5_order(row: dict) -> tuple:
    """SGD before Adam, fewest drops first, then the fastest."""
    rates = [-rate for rate in row["learning_rates"]]
    return row["optimizer"] != "SGD", len(row["drop_epochs"]), rates, row["drop_epochs"]


def part3_table(summary: dict) -> str:
    """Return the README's table of part 3."""
    header = ["architecture", "parameters", "runs", "test accuracy", "best run",
              "training, final", "validation, final", "gap"]  # fmt: skip
    rows = [
        [name, f"{r['parameters']:,}", str(r["runs"]), accuracy_text(r),
         f"{r['test_acc_best']:.2f}", f"{r['train_acc_final']:.1f}",
         f"{r['val_acc_final']:.1f}", f"{r['gap']:.1f}"]
        for name in ARCHITECTURES if (r := summary["part3"].get(name))
    ]  # fmt: skip
    return table(header, rows) if rows else ""


def part4_table(summary: dict) -> str:
    """Return the README's table of part 4."""
    header = ["variant", "runs", "loss, first", "last", "gradient, first", "last", "test accuracy"]
    rows = [
        [f"{name}, {activation}{KINDS[part]}", str(r["runs"]),
         *(number_text(r[f"loss_{point}"], ".3f") for point in ("first", "last")),
         *(number_text(r[f"grad_{point}"], ".1e") for point in ("first", "last")),
         accuracy_text(r)]
        for part in KINDS
        for name in ARCHITECTURES
        for activation, r in summary[part].get(name, {}).items()
    ]  # fmt: skip
    return table(header, rows) if rows else ""


def part5_table(summary: dict) -> str:
    """Return the README's table of part 5."""
    header = ["variant", "runs", "drops after epoch", "epochs", "validation, best", "final",
              "test accuracy"]  # fmt: skip
    rows = [
        [f"{name}, {r['optimizer']} {' → '.join(map(str, r['learning_rates']))}", str(r["runs"]),
         ", ".join(map(str, r["drop_epochs"])) or "–", str(r["epochs"]),
         f"{r['val_acc_best']:.1f}", f"{r['val_acc_final']:.1f}", accuracy_text(r)]
        for name, row in summary["part5"].items()
        for r in sorted(row.values(), key=_part5_order)
    ]  # fmt: skip
    rows += [
        [f"{name}, Adam (part 3)", str(r["runs"]), "–", str(r["epochs"]), "",
         f"{r['val_acc_final']:.1f}", accuracy_text(r)]
        for name in summary["part5"] if (r := summary["part3"].get(name))
    ]  # fmt: skip
    return table(header, rows) if rows else ""


def markdown_tables(summary: dict) -> str:
    """Return the tables of the README; accuracies in percent."""
    tables = {"Part 3": part3_table, "Part 4": part4_table, "Part 5": part5_table}
    texts = {name: make(summary) for name, make in tables.items()}
    return "\n\n".join(f"**{name}**\n\n{text}" for name, text in texts.items() if text)


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "--out", type=cli.path, default=Path("results"), help="default: %(default)s"
    )  # fmt: skip
    parser.add_argument("--readme", type=cli.path, help="a file with the two markers")
    options = parser.parse_args()
    summary = summarise(options.out)
    tables = markdown_tables(summary)
    texts = {options.out / "summary.json": json.dumps(summary, indent=1, allow_nan=False) + "\n"}
    if options.readme:
        readme = options.readme.read_text(encoding="utf-8")
        if BEGIN not in readme or END not in readme:
            raise UserError(f"{options.readme}: the markers {BEGIN} and {END} are not in it")
        before, after = readme.split(BEGIN)[0], readme.split(END)[1]
        texts[options.readme] = f"{before}{BEGIN}\n{tables}\n{END}{after}"
    for path, text in texts.items():
        write_atomically(path, text.encode())
    print(tables)


if __name__ == "__main__":
    cli.run(main)
