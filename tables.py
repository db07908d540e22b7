"""The numbers of summary.py as texts, and as the tables of the README."""

from collections.abc import Sequence

from models import ARCHITECTURES


def accuracy_text(row: dict) -> str:
    """Mean ± standard deviation, or the value of a single run."""
    if row["test_acc_std"] is None:
        return f"{row['test_acc_mean']:.2f}"
    return f"{row['test_acc_mean']:.2f} ± {row['test_acc_std']:.2f}"


def number_text(value: float | None, form: str) -> str:
    """`value` in the given format; what has overflown says so, what is huge is written with e."""
    if value is None:
        return "overflow"
    text = f"{value:.1e}" if form.endswith("f") and abs(value) >= 1000 else f"{value:{form}}"
    return "\N{MINUS SIGN}" + text[1:] if text.startswith("-") else text


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fewest_drops_fastest_first(row: dict) -> tuple:
    """The order of part 5's trainings in the table."""
    return len(row["drop_epochs"]), [-rate for rate in row["learning_rates"]], row["drop_epochs"]


def markdown_tables(summary: dict) -> str:
    """The tables of the README, from all that summary.py knows; accuracies in percent."""
    part3 = [
        [name, f"{r['parameters']:,}", str(r["runs"]), accuracy_text(r),
         f"{r['test_acc_best']:.2f}", f"{r['train_acc_final']:.1f}",
         f"{r['val_acc_final']:.1f}", f"{r['gap']:.1f}"]
        for name in ARCHITECTURES if (r := summary["part3"].get(name))
    ]  # fmt: skip
    part4 = [
        [f"{name}, {activation}{kind}",
         *(number_text(r[f"loss_{point}"], ".3f") for point in ("first", "last")),
         *(number_text(r[f"grad_{point}"], ".1e") for point in ("first", "last")),
         accuracy_text(r)]
        for part, kind in (("part4", ""), ("part4_unscaled", ", inputs 0 to 255"))
        for name in ARCHITECTURES
        for activation, r in summary[part].get(name, {}).items()
    ]  # fmt: skip
    part5 = [
        [f"{name}, SGD {' → '.join(map(str, r['learning_rates']))}",
         ", ".join(map(str, r["drop_epochs"])) or "–", str(r["epochs"]),
         f"{r['val_acc_best']:.1f}", f"{r['val_acc_final']:.1f}", accuracy_text(r)]
        for name, row in summary["part5"].items()
        for r in sorted(row["trainings"].values(), key=fewest_drops_fastest_first)
    ]  # fmt: skip
    part5 += [
        [f"{name}, Adam ({r['runs']} runs of part 3)", "–", str(r["epochs"]), "",
         f"{r['val_acc_final']:.1f}", accuracy_text(r)]
        for name, row in summary["part5"].items() if (r := row["adam"])
    ]  # fmt: skip
    named = (
        ("Part 3", ["architecture", "parameters", "runs", "test accuracy", "best run",
                    "training, final", "validation, final", "gap"], part3),
        ("Part 4", ["training", "loss, first", "last", "gradient, first", "last",
                    "test accuracy"], part4),
        ("Part 5", ["training", "drops after epoch", "epochs", "validation, best", "final",
                    "test accuracy"], part5),
    )  # fmt: skip
    return "\n\n".join(f"**{name}**\n\n{table(head, rows)}" for name, head, rows in named if rows)
