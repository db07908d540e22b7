"""Collect the numbers of all parts from the records: summary.json and the README's tables.

    python -m report.summary                      # results/summary.json, tables
    python -m report.summary --readme README.md   # and between that file's markers

"Final" is the mean over the last epoch of a run, because a single point is noisy. Test accuracies
are mean ± standard deviation over the runs (n - 1 in the denominator). The best of several runs,
which the assignment asks for, is an optimistic number.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import ends, options, records
from experiments.aggregate import final
from experiments.records import Record
from experiments.storage import UserError, write_atomically
from models import ARCHITECTURES, build, num_parameters

BEGIN, END = "<!-- tables of report.summary -->", "<!-- end of tables -->"
# What part 4 trains, and the tables' name for it
KINDS = {"part4": "", "part4_unscaled": ", inputs 0 to 255", "part4_initialized": ", initialized"}
PARTS = ("part3", *KINDS, "part5")
# What part 5 trains, named as its records' folders
PART5_KINDS = ("0.1", "0.01", "0.001", "0.01 long", "one drop", "two drops", "Adam")
Variants = dict[str, list[Record]]  # the records of a part, by the names of their folders


def accuracies(of_runs: Sequence[Record]) -> dict[str, Any]:
    """Return epochs, runs, and mean, standard deviation (NaN for one run) and best, in percent."""
    values = [record.test_acc for record in of_runs]
    return {
        "epochs": of_runs[0].config["epochs"],
        "runs": len(values),
        "test_acc_mean": float(np.mean(values)),
        "test_acc_std": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
        "test_acc_best": max(values),
    }


def mean_final(of_runs: Sequence[Record], curve: str) -> float:
    """Return the mean over the runs of the last epoch of a curve."""
    return float(final(of_runs, curve).mean())


def summarise_part3(variants: Variants) -> dict[str, dict]:
    """Return by architecture: size, accuracies and their gap in percent, seconds for a run."""
    rows = {}
    for name, of_runs in variants.items():
        train_acc, val_acc = (mean_final(of_runs, f"{s}_acc_curve") for s in ("train", "val"))
        rows[name] = {
            "parameters": num_parameters(build(name)),
            **accuracies(of_runs),
            "train_acc_final": train_acc,
            "val_acc_final": val_acc,
            "gap": train_acc - val_acc,
            "seconds": float(np.mean([record.environment["seconds"] for record in of_runs])),
        }
    return rows


def summarise_part4(variants: Variants) -> dict[str, dict]:
    """Return by architecture and activation: the first point, and the mean over the last epoch."""
    rows: dict[str, dict] = {}
    for variant, of_runs in variants.items():
        name, _, activation = variant.rpartition("_")
        rows.setdefault(name, {})[activation] = {
            **accuracies(of_runs),
            "loss_first": float(np.mean([record["loss_curve"][0] for record in of_runs])),
            "loss_last": mean_final(of_runs, "loss_curve"),
            "grad_first": float(np.mean([record["grad_curve"][0] for record in of_runs])),
            "grad_last": mean_final(of_runs, "grad_curve"),
        }
    return rows


def kind_of(variant: str, config: dict) -> str:
    """Return the kind of a variant of part 5: "0.01 long" of "cnn_4_0.01_long"."""
    words = variant.removeprefix(f"{config['architecture']}_").split("_")
    kind = " ".join(words[: len(words) - len(config["drop_epochs"])])
    return kind.replace("adam", "Adam")


def summarise_part5(variants: Variants) -> dict[str, dict]:
    """Return by architecture: each variant with its learning rates and drops."""
    rows: dict[str, dict] = {}
    for variant, of_runs in variants.items():
        config = of_runs[0].config
        rows.setdefault(config["architecture"], {})[variant] = {
            "kind": kind_of(variant, config),
            "learning_rates": config["learning_rates"],
            "drop_epochs": config["drop_epochs"],
            **accuracies(of_runs),
            "train_acc_final": mean_final(of_runs, "train_acc_curve"),
            "val_acc_final": mean_final(of_runs, "val_acc_curve"),
        }
    return rows


def summarise(parts: dict[str, Variants]) -> dict[str, Any]:
    """Return the numbers of all parts. What is not finite is NaN or infinite."""
    return {
        "part3": summarise_part3(parts["part3"]),
        **{part: summarise_part4(parts[part]) for part in KINDS},
        "part5": summarise_part5(parts["part5"]),
    }


def without_nan(value: Any) -> Any:
    """Return a copy in which what is not finite, as the loss of a diverged run, is None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# ---- The tables


def accuracy_text(row: dict | None) -> str:
    """Format a test accuracy: mean ± standard deviation, or the value of a single run."""
    if row is None:
        return "–"
    deviation = row["test_acc_std"]
    return f"{row['test_acc_mean']:.2f}" + ("" if math.isnan(deviation) else f" ± {deviation:.2f}")


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown_tables(summary: dict) -> str:
    """Return the tables of parts 3 to 5 in Markdown. Accuracies are in percent."""
    part3, part5 = summary["part3"], summary["part5"]
    texts = {
        "Part 3": (
            ["network", "parameters", "runs", "test accuracy", "best run", "gap"],
            [
                [name, f"{r['parameters']:,}", str(r["runs"]), accuracy_text(r),
                 f"{r['test_acc_best']:.2f}", f"{r['gap']:.1f}"]
                for name in ARCHITECTURES if (r := part3.get(name))
            ],
        ),
        "Part 4": (
            ["network", "first gradient, ReLU", "sigmoid", "test accuracy, ReLU", "sigmoid"],
            [
                [name + text, *(f"{r['grad_first']:.1e}" if r else "–" for r in rows),
                 *map(accuracy_text, rows)]
                for part, text in KINDS.items() for name in ARCHITECTURES
                if any(rows := [summary[part].get(name, {}).get(a) for a in ("relu", "sigmoid")])
            ],
        ),
        "Part 5": (
            ["training", "runs", "epochs", "validation, final", "test accuracy"],
            [
                [f"{name}, {text}", str(r["runs"]), str(r["epochs"]), f"{r['val_acc_final']:.1f}",
                 accuracy_text(r)]
                for name, rows in part5.items()
                for text, r in [
                    *((training_text(row), row) for row in sorted(rows.values(), key=order)),
                    *([("Adam in part 3", part3[name])] if name in part3 else []),
                ]
            ],
        ),
    }  # fmt: skip
    return "\n\n".join(f"**{name}**\n\n{table(*of)}" for name, of in texts.items() if of[1])


def order(row: dict) -> int:
    """Return where a variant of part 5 stands in a table. Those of other rates stand first."""
    return PART5_KINDS.index(row["kind"]) if row["kind"] in PART5_KINDS else -1


def training_text(row: dict) -> str:
    """Describe a variant of part 5: "0.1, 0.01 after epoch 11", "Adam"."""
    if row["kind"] == "Adam":
        return "Adam"
    first, *later = row["learning_rates"]
    drops = zip(later, row["drop_epochs"], strict=True)
    return ", ".join([f"SGD {first}", *(f"{rate} after epoch {epoch}" for rate, epoch in drops)])


def main() -> None:
    parser = options.Parser(__doc__)
    parser.add_argument("--out", type=options.path, default="results", help="default: %(default)s")
    parser.add_argument("--readme", type=options.path, help="a file with the two markers")
    given = parser.parse_args()
    parts = records.read_parts(given.out, PARTS)
    if not any(parts.values()):
        raise UserError(f"{given.out}: no records; run part3_architectures.py first")
    summary = summarise(parts)
    tables = markdown_tables(summary)
    content = json.dumps(without_nan(summary), indent=1, allow_nan=False) + "\n"
    texts = {given.out / "summary.json": content}
    if given.readme:
        readme = given.readme.read_text(encoding="utf-8")
        if BEGIN not in readme or END not in readme:
            raise UserError(f"{given.readme}: the markers {BEGIN} and {END} are not in it")
        before, after = readme.split(BEGIN)[0], readme.split(END)[1]
        texts[given.readme] = f"{before}{BEGIN}\n{tables}\n{END}{after}"
    for path, text in texts.items():
        write_atomically(path, text.encode())
    print(tables)


if __name__ == "__main__":
    ends.run(main)
