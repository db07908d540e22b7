"""Part 3: five architectures on grayscale CIFAR-10, 10 runs each, trained with Adam.

Records every run in OUT/runs/part3 and the averages in OUT/part3_<name>.pkl; draws the performance
comparison (part3.png), the spread over the runs (part3_spread.png) and the weights of the first
layers (part3_weights_<name>.png). Recorded runs are never trained again.

    python part3_architectures.py                                # all: hours on a CPU
    python part3_architectures.py --arch mlp_1                   # one architecture
    python part3_architectures.py --dataset synthetic --quick    # a minute, no data needed
    torchrun --nproc-per-node=4 part3_architectures.py           # share the runs among processes
"""

from argparse import Namespace
from collections.abc import Sequence

import cli
import script
from averages import find_finished, label, mean_curve
from figures import plot_spread
from files import save_dictionary
from models import ARCHITECTURES
from records import Record, Run, repeat
from runs import complete, train_and_validate
from utils import part3Plots, visualizeWeights

EPOCHS = 15  # "train the ANN for 15 epochs"
RUNS = 10  # "Repeat 1 for at least 10 times"
LEARNING_RATE = 0.001  # "adaptive moment estimation (Adam) with default parameters"
QUICK_EPOCHS, QUICK_RUNS = 4, 2


def plan(name: str, options: Namespace) -> list[Run]:
    """Tasks 1 and 2 of section 3.1: runs that differ in initial weights and batch order only."""
    return repeat(
        options,
        part="part3",
        variant=name,
        architecture=name,
        activation="ReLU",
        optimizer="Adam",
        learning_rates=(LEARNING_RATE,),
    )


def average(name: str, records: Sequence[Record]) -> dict:
    """Tasks 2 and 3: the averages, and the best of the runs."""
    best = max(records, key=lambda record: record.test_acc)
    return {
        "name": name,
        "loss_curve": mean_curve(records, "loss_curve"),
        "train_acc_curve": mean_curve(records, "train_acc_curve"),
        "val_acc_curve": mean_curve(records, "val_acc_curve"),
        "test_acc": best.test_acc,
        "weights": best["weights"],
    }


def main() -> None:
    parser = cli.training_parser(
        __doc__,
        runs=(RUNS, QUICK_RUNS),
        epochs=(EPOCHS, QUICK_EPOCHS),
        architectures=list(ARCHITECTURES),
    )
    options = cli.parse_training_options(parser)
    plans = {name: plan(name, options) for name in ARCHITECTURES}
    names = [options.arch] if options.arch else list(ARCHITECTURES)
    if not options.plot_only:
        complete([run for name in names for run in plans[name]], train_and_validate, options)

    finished = find_finished(plans, names, options)
    results = {name: average(label(name, options), finished[name]) for name in finished}
    if not options.plot_only:
        for name in names:  # task 4
            save_dictionary(options.out / f"part3_{name}.pkl", results[name])
    save_dir = str(options.out)
    part3Plots(list(results.values()), save_dir=save_dir, filename="part3", show_plot=False)
    plot_spread(finished, label("part 3", options), options.out / "part3_spread.png")
    for name, result in results.items():
        visualizeWeights(result["weights"], save_dir, filename=f"part3_weights_{name}")
    cli.print_figures(options.out, "part3*.png")


if __name__ == "__main__":
    script.run(main)
