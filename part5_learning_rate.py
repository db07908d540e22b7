"""Part 5: the learning rate of SGD: 0.1, 0.01 and 0.001, then lowered in steps from 0.1.

All trainings start from the same weights. Records them in OUT/runs/part5, pickles the dictionary
OUT/part5_<name>.pkl, draws the three learning rates (part5_<name>.png) and the two schedules
(part5_<name>_schedules.png), and compares the test accuracy with Adam's, recorded by part 3.

    python part5_learning_rate.py                                # the architecture best in part 3
    python part5_learning_rate.py --arch mlp_2                   # another one, but not mlp_1
    python part5_learning_rate.py --drop-epochs 5 12             # your own reading of the curves
    python part5_learning_rate.py --dataset synthetic --quick    # a minute, no data needed
"""

from argparse import Namespace
from collections.abc import Sequence

import numpy as np

import cli
import script
from averages import describe, epoch_means, find_finished, label, mean_curve, read_adam_records
from figures import plot_schedules
from files import save_dictionary
from models import ARCHITECTURES
from records import Record, Run, repeat
from runs import complete, train_and_validate
from utils import part5Plots

ARCHITECTURE = "cnn_4"  # the best mean validation accuracy at the end of part 3
EPOCHS, SCHEDULE_EPOCHS = 20, 30  # "train the three ANNs for 20 epochs", "until 30 epochs"
LEARNING_RATES = {"1": 0.1, "01": 0.01, "001": 0.001}  # by the suffix of the keys
RUNS, QUICK_EPOCHS = 1, 6

# The accuracy has stopped increasing at the first epoch that none of the PATIENCE epochs after it
# surpasses by more than MIN_GAIN points, taking an epoch's accuracy as the mean over its points.
# Half a point is 25 of 5,000 images, a little less than the standard error of one measurement.
PATIENCE, MIN_GAIN = 3, 0.5


def plan(options: Namespace, learning_rates: Sequence[float], drop_epochs=()) -> list[Run]:
    """The trainings with constant learning rate, or with one that drops after `drop_epochs`."""
    if drop_epochs:
        variant = "_".join([options.arch, "drop", *(f"{epoch:02d}" for epoch in drop_epochs)])
    else:
        variant = f"{options.arch}_lr_{learning_rates[0]}"
    return repeat(
        options,
        part="part5",
        variant=variant,
        architecture=options.arch,
        activation="ReLU",
        optimizer="SGD",
        learning_rates=tuple(learning_rates),
        drop_epochs=tuple(drop_epochs),
        epochs=schedule_epochs(options) if drop_epochs else options.epochs,
    )


def schedule_epochs(options: Namespace) -> int:
    """30 where the constant learning rates have 20."""
    return options.epochs * SCHEDULE_EPOCHS // EPOCHS


def stops_increasing(val_acc_curve: np.ndarray, epochs: int, after: int = 0) -> int:
    """The first epoch past `after`, counted from 1, at which the accuracy has stopped increasing.

    The rule stands at PATIENCE. Returns `epochs`, as many as the curve spans, if it has not.
    """
    by_epoch = epoch_means(val_acc_curve, epochs)
    for epoch in range(after + 1, epochs - PATIENCE + 1):
        if not by_epoch[epoch : epoch + PATIENCE].max() > by_epoch[epoch - 1] + MIN_GAIN:
            return epoch
    return epochs


def read_off(runs: list[Run], options: Namespace, after: int = 0) -> int:
    """`stops_increasing` of recorded repetitions, of which the first one is read."""
    run = runs[0]
    ((record, *_),) = find_finished({run.variant: runs}, [run.variant], options).values()
    epoch = stops_increasing(record["val_acc_curve"], run.epochs, after)
    if epoch == run.epochs:
        print(
            f"{run.variant}: the validation accuracy has not stopped increasing by epoch {epoch}, "
            "the last one; take more --epochs, or --drop-epochs"
        )
    else:
        print(f"{run.variant}: the validation accuracy stops increasing at epoch {epoch}")
    return epoch


def schedules(options: Namespace) -> tuple[list[Run], list[Run]]:
    """Tasks 1 to 7 of the scheduled learning rate: one drop, then two.

    An epoch that is read off depends on the training before it, so one process trains them all.
    """

    def trained(runs: list[Run]) -> list[Run]:
        if options.rank == 0 and not options.plot_only:
            complete(runs, train_and_validate, options, together=True)
        return runs

    rates = list(LEARNING_RATES.values())
    first, second = options.drop_epochs or (None, None)
    first = first or read_off(plan(options, rates[:1]), options)
    one_drop = trained(plan(options, rates[:2], (first,)))
    second = second or read_off(one_drop, options, after=first)
    return one_drop, trained(plan(options, rates, (first, second)))


def combine(name: str, records: dict[str, Sequence[Record]]) -> dict:
    """The dictionary of section 5.1, from the records by suffix."""
    return {
        "name": name,
        **{f"loss_curve_{s}": mean_curve(records[s], "loss_curve") for s in LEARNING_RATES},
        **{f"val_acc_curve_{s}": mean_curve(records[s], "val_acc_curve") for s in LEARNING_RATES},
    }


def main() -> None:
    parser = cli.training_parser(
        __doc__,
        runs=(RUNS, RUNS),
        epochs=(EPOCHS, QUICK_EPOCHS),
        architectures=[name for name in ARCHITECTURES if name != "mlp_1"],  # "excluding 'mlp_1'"
    )
    parser.add_argument(
        "--drop-epochs", type=cli.positive, nargs=2, metavar=("A", "B"),
        help="lower the learning rate after these epochs instead of those read off",
    )  # fmt: skip
    options = cli.parse_training_options(parser)
    options.arch = options.arch or ARCHITECTURE
    last = schedule_epochs(options)
    if options.drop_epochs and not options.drop_epochs[0] < options.drop_epochs[1] < last:
        parser.error(f"argument --drop-epochs: A < B < {last} is needed, not {options.drop_epochs}")

    constant = {suffix: plan(options, [rate]) for suffix, rate in LEARNING_RATES.items()}
    if not options.plot_only:
        complete([run for runs in constant.values() for run in runs], train_and_validate, options)
    one_drop, two_drops = schedules(options)
    plans = constant | {"one drop": one_drop, "two drops": two_drops}
    finished = find_finished(plans, list(plans), options)

    name, save_dir = label(options.arch, options), str(options.out)
    result = combine(name, finished)
    if not options.plot_only:
        save_dictionary(options.out / f"part5_{options.arch}.pkl", result)
    part5Plots(result, save_dir=save_dir, filename=f"part5_{options.arch}", show_plot=False)

    sha256 = finished["1"][0].config["data_sha256"]
    adam = read_adam_records(options.arch, sha256, options.out)
    for drops in ("one drop", "two drops"):
        rates = ", ".join(map(str, finished[drops][0].config["learning_rates"]))
        print(f"SGD, learning rates {rates}: test accuracy {describe(finished[drops])}")
    if adam:
        print(f"Adam in part 3: test accuracy {describe(adam)}")
    else:
        print("Adam: part 3 has no records on the same data here; run part3_architectures.py")
    plot_schedules(name, finished, adam, options.out / f"part5_{options.arch}_schedules.png")
    cli.print_figures(options.out, f"part5_{options.arch}*.png")


if __name__ == "__main__":
    script.run(main)
