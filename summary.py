"""The numbers of all parts, from the records: OUT/summary.json and the tables of the README.

    python summary.py                        # results/summary.json, tables on the screen
    python summary.py --readme README.md     # and between the two markers of that file

"Final" is the mean over the last epoch of a training, for a single point is noisy; "best" is the
best epoch's mean. Test accuracies stand as mean ± standard deviation over the runs (n - 1 in the
denominator); the best of several runs, which the assignment asks for, is an optimistic number.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import cli
import script
from averages import epoch_means, mean_curve
from files import UserError, write_atomically
from models import build, num_parameters
from records import Record, read_record
from tables import markdown_tables

BEGIN, END = "<!-- tables of summary.py -->", "<!-- end of tables -->"


def read_variants(out: Path, part: str) -> dict[str, list[Record]]:
    """All records of a part, by the name of their folder. Raises UserError if one is damaged."""
    variants = {}
    for folder in sorted((out / "runs" / part).glob("*")):
        try:
            records = [read_record(path) for path in sorted(folder.glob("run_*.npz"))]
        except ValueError as error:
            raise UserError(f"{folder}: a damaged record ({error}); run {part} again") from error
        definitions = [record.config | {"seed": 0} for record in records]
        for record, definition in zip(records, definitions, strict=True):
            if definition != definitions[0]:
                raise UserError(f"{record.path}: defined otherwise than {records[0].path}")
        if records:
            variants[folder.name] = records
    return variants


def final(records: Sequence[Record], curve: str) -> float:
    """The mean over the last epoch and over the runs."""
    return float(np.mean([epoch_means(r[curve], r.config["epochs"])[-1] for r in records]))


def test_accuracies(records: Sequence[Record]) -> dict:
    """Mean, standard deviation (none of a single run) and best over the runs, percent."""
    values = [record.test_acc for record in records]
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "runs": len(values),
        "test_acc_mean": float(np.mean(values)),
        "test_acc_std": deviation,
        "test_acc_best": max(values),
    }


def summarise_part3(out: Path) -> dict:
    """By architecture: size, accuracies in percent, the gap between them, seconds for a run."""
    rows = {}
    for name, records in read_variants(out, "part3").items():
        train_acc, val_acc = final(records, "train_acc_curve"), final(records, "val_acc_curve")
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


def summarise_part4(out: Path, part: str) -> dict:
    """By architecture and activation: the first point, and the mean over the last epoch."""
    rows = {}
    for variant, records in read_variants(out, part).items():
        name, _, activation = variant.rpartition("_")
        rows.setdefault(name, {})[activation] = {
            "epochs": records[0].config["epochs"],
            **test_accuracies(records),
            "loss_first": float(np.mean([record["loss_curve"][0] for record in records])),
            "loss_last": final(records, "loss_curve"),
            "grad_first": float(np.mean([record["grad_curve"][0] for record in records])),
            "grad_last": final(records, "grad_curve"),
        }
    return rows


def summarise_part5(out: Path) -> dict:
    """By architecture: each training with its learning rates and drops, and Adam's part 3."""
    rows = {}
    for variant, records in read_variants(out, "part5").items():
        config = records[0].config
        row = rows.setdefault(config["architecture"], {"trainings": {}})
        row["trainings"][variant.removeprefix(f"{config['architecture']}_")] = {
            "learning_rates": config["learning_rates"],
            "drop_epochs": config["drop_epochs"],
            "epochs": config["epochs"],
            **test_accuracies(records),
            "train_acc_final": final(records, "train_acc_curve"),
            "val_acc_final": final(records, "val_acc_curve"),
            "val_acc_best": float(
                epoch_means(mean_curve(records, "val_acc_curve"), config["epochs"]).max()
            ),
        }
    adam = summarise_part3(out)
    for name, row in rows.items():
        row["adam"] = adam.get(name)
    return rows


def summarise(out: Path) -> dict:
    """All numbers, as they stand in summary.json."""
    summary = {
        "part3": summarise_part3(out),
        "part4": summarise_part4(out, "part4"),
        "part4_unscaled": summarise_part4(out, "part4_unscaled"),
        "part5": summarise_part5(out),
    }
    records = [r for part in summary for rs in read_variants(out, part).values() for r in rs]
    if not records:
        raise UserError(f"{out}: no records below; run part3_architectures.py --out {out} first")
    if len({record.config["data_sha256"] for record in records}) > 1:
        raise UserError(f"{out}: its records were trained on different data")
    config = records[0].config
    known = {"dataset": config["dataset"], "data_sha256": config["data_sha256"]}
    return known | without_nan(summary)


def without_nan(value: dict | float) -> dict | float | None:
    """A copy in which what is not finite, as the loss of a diverged training, is None."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument(
        "--out", type=cli.folder, default=Path("results"), help="default: %(default)s"
    )
    parser.add_argument("--readme", type=Path, help="a file with the two markers")
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
        write_atomically(path, lambda file, text=text: file.write(text.encode()))
    print(tables)


if __name__ == "__main__":
    script.run(main)
