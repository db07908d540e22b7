"""Part 5: SGD with learning rates of 0.1, 0.01 and 0.001, then with a rate lowered in steps.

Every run is recorded in OUT/runs/part5. Run r of all learning rates and schedules starts from the
same weights. The dictionaries OUT/part5_<name>.pkl and OUT/part5_<name>_schedules.pkl hold the
curves of the first runs. The figures show the three learning rates (part5_<name>.png), how several
runs vary (part5_<name>_spread.png), and the two schedules (part5_<name>_schedules.png), which are
compared with Adam over as many epochs.

    python part5_learning_rate.py                                # the architecture best in part 3
    python part5_learning_rate.py --runs 5                       # and how much the curves vary
    python part5_learning_rate.py --arch mlp_2                   # another one, but not mlp_1
    python part5_learning_rate.py --drop-epochs 5 12             # your own reading of the curves
    python part5_learning_rate.py --dataset synthetic --quick    # a minute, no data needed
"""

import contextlib
from argparse import Namespace
from collections.abc import Callable, Sequence

from experiments import cli
from experiments.aggregate import describe, plateau_epoch
from experiments.config import RunConfig, replicate
from experiments.plots import plot_learning_rates, plot_schedules
from experiments.records import Record, read_runs
from experiments.runner import load_finished, run_missing
from experiments.storage import UserError, save_dictionary
from experiments.training import evaluate, new_model, new_optimizer, train

from data import BatchLoader, Data
from models import ARCHITECTURES, first_layer
from utils import part5Plots

ARCHITECTURE = "cnn_4"  # the best mean validation accuracy at the end of part 3
EPOCHS, SCHEDULE_EPOCHS = 20, 30  # "train the three ANNs for 20 epochs", "until 30 epochs"
RUNS = 1  # "Repeat" is asked for in part 3 only; --runs 5 shows how much the curves vary
LEARNING_RATES = {"1": 0.1, "01": 0.01, "001": 0.001}  # by the suffix of the keys
ADAM_LEARNING_RATE = 0.001  # its default, as in part 3
BATCH_SIZE = 50  # "batch size of 50 samples"
PIXEL_RANGE = (-1.0, 1.0)  # "the pixel values are scaled to [-1.0, 1.0]"
SPLIT_SEED = 449  # "Split 10% of the training data as the validation set", as in part 3
RECORD_EVERY = 10  # "for every 10 steps"
QUICK_EPOCHS = 4


def configure(
    options: Namespace,
    rate: float | None = None,  # without it "initial learning rate of 0.1", lowered at the drops
    drop_epochs: Sequence[int] = (),
    optimizer: str = "SGD",  # "0.0 momentum" and no weight decay are its defaults
) -> RunConfig:
    """Define the first run of a kind. The others differ in their seed only."""
    rates = (rate,) if rate else tuple(LEARNING_RATES.values())[: len(drop_epochs) + 1]
    kind = "adam" if optimizer == "Adam" else f"lr_{rates[0]}"
    if drop_epochs:
        kind = "_".join(["drop", *(f"{epoch:02d}" for epoch in drop_epochs)])
    epochs = options.epochs
    if not kind.startswith("lr_"):  # Adam is compared with the schedules, at equal length
        epochs = epochs * SCHEDULE_EPOCHS // EPOCHS
    return RunConfig(
        part="part5", variant=f"{options.arch}_{kind}", seed=options.seed,
        architecture=options.arch, activation="ReLU",
        optimizer=optimizer, learning_rates=rates, epochs=epochs,
        drop_epochs=tuple(drop_epochs),
        batch_size=options.batch_size, record_every=RECORD_EVERY,
        dataset=options.dataset, split_seed=SPLIT_SEED, pixel_range=PIXEL_RANGE,
    )  # fmt: skip


def train_run(config: RunConfig, data: Data, advance: Callable[[int], None]) -> dict:
    """Train one network, with a new optimizer for each of its learning rates: section 5.1.

    Arguments and result are as in part 3.
    """
    model = new_model(config, data.train.images.device)
    # "Shuffle training set after each epoch": each iteration draws a new order
    train_generator = BatchLoader(data.train, config.batch_size, shuffle=True, seed=config.seed)
    loss_curve, train_acc_curve, val_acc_curve = [], [], []
    for learning_rate, epochs in config.phases():
        # "Create an optimizer with the new learning rate and retrain the model with the new
        # optimizer, without reinitializing model"
        optimizer = new_optimizer(config, model, learning_rate)
        for point in train(model, optimizer, train_generator, epochs, config.record_every):
            # "Record the training loss and the validation accuracy for every 10 steps"
            loss_curve.append(point.loss)
            train_acc_curve.append(point.accuracy)
            val_acc_curve.append(evaluate(model, data.val))  # in model.eval() mode
            advance(point.step)
    return {
        "loss_curve": loss_curve,
        "train_acc_curve": train_acc_curve,
        "val_acc_curve": val_acc_curve,
        "test_acc": evaluate(model, data.test),  # "once the training ends"
        "weights": first_layer(model).weight,
    }


def read_off(config: RunConfig, options: Namespace, after: int = 0) -> int:
    """Determine "the epoch step where the accuracy stops increasing" in the run of `config`."""
    record = load_finished({config: [config]}, [config], options)[config][0]
    # No epoch's mean of the next 3 is more than 0.5 percentage points higher: aggregate.PATIENCE
    epoch = plateau_epoch(record["val_acc_curve"], config.epochs, after)
    news = f"stops increasing after epoch {epoch}"
    if epoch == config.epochs:
        news = f"still increases in epoch {epoch}, its last; more --epochs would show more"
    print(f"{config.variant}: the validation accuracy {news}")
    return epoch


def train_schedules(options: Namespace) -> dict[str, list[RunConfig]]:
    """Train with a scheduled learning rate: the numbered tasks of section 5.1.

    Each schedule depends on the runs before it, so of many processes number 0 trains them all.
    `load_finished` ends the others while a record is missing.
    """
    # 1. "Examine the validation accuracy curve of the ANN trained with 0.1 learning rate"
    drop = read_off(configure(options, LEARNING_RATES["1"]), options)
    # 2 to 4. "with initial learning rate of 0.1 [...] Then, set the learning rate to 0.01"
    one_drop = replicate(configure(options, drop_epochs=[drop]), options.runs)
    run_missing(one_drop, train_run, options, by_process_0=True)
    # 5. "determine the epoch step where the accuracy stops increasing"
    next_drop = read_off(one_drop[0], options, after=drop)
    # 6 and 7. "Then, set the learning rate to 0.001 and continue training until 30 epochs"
    two_drops = replicate(configure(options, drop_epochs=[drop, next_drop]), options.runs)
    run_missing(two_drops, train_run, options, by_process_0=True)
    return {"one drop": one_drop, "two drops": two_drops}


def combine(name: str, first: dict[str, Record]) -> dict:
    """Make the dictionary of the three learning rates from their first runs, by suffix."""
    keys = [(curve, s) for curve in ("loss_curve", "val_acc_curve") for s in LEARNING_RATES]
    return {"name": name} | {f"{curve}_{s}": first[s][curve].tolist() for curve, s in keys}


def combine_schedules(name: str, first: dict[str, Record]) -> dict:
    """Make the dictionary of the schedules and Adam from their first runs."""
    kinds = {"one_drop": "one drop", "two_drops": "two drops", "adam": "Adam"}
    return {
        "name": name,
        "drop_epochs": first["two drops"].config["drop_epochs"],
        **{f"val_acc_curve_{key}": first[k]["val_acc_curve"].tolist() for key, k in kinds.items()},
        **{f"test_acc_{key}": first[k].test_acc for key, k in kinds.items()},
    }


def main() -> None:
    parser = cli.training_parser(
        __doc__,
        runs=(RUNS, RUNS),
        epochs=(EPOCHS, QUICK_EPOCHS),
        batch_size=BATCH_SIZE,
        architectures=[name for name in ARCHITECTURES if name != "mlp_1"],  # "excluding 'mlp_1'"
    )
    parser.add_argument(
        "--drop-epochs", type=cli.positive, nargs=2, metavar=("A", "B"),
        help="lower the learning rate after these epochs instead of those read off",
    )  # fmt: skip
    options = cli.parse_training_options(parser)
    options.arch = options.arch or ARCHITECTURE
    configs = {suffix: configure(options, rate) for suffix, rate in LEARNING_RATES.items()}
    configs["Adam"] = configure(options, ADAM_LEARNING_RATE, optimizer="Adam")
    last, drops = configs["Adam"].epochs, options.drop_epochs
    if drops:  # nothing has to be read off, so all can be trained at the same time
        if not drops[0] < drops[1] < last:
            parser.error(f"argument --drop-epochs: A < B < {last} is needed, not {drops}")
        configs["one drop"] = configure(options, drop_epochs=drops[:1])
        configs["two drops"] = configure(options, drop_epochs=drops)
    plans = {kind: replicate(config, options.runs) for kind, config in configs.items()}
    run_missing([config for runs in plans.values() for config in runs], train_run, options)
    if not drops:
        plans |= train_schedules(options)

    records = load_finished(plans, list(plans), options)
    name, stem, out = cli.label(options.arch, options), f"part5_{options.arch}", options.out
    first = {kind: runs[0] for kind, runs in records.items()}
    result = combine(name, first)
    if not options.plot_only:
        save_dictionary(out / f"{stem}.pkl", result)
        save_dictionary(out / f"{stem}_schedules.pkl", combine_schedules(name, first))
    part5Plots(result, save_dir=str(out), filename=stem, show_plot=False)
    plot_learning_rates(name, records, LEARNING_RATES, out / f"{stem}_spread.png")
    plot_schedules(name, records, out / f"{stem}_schedules.png")
    # 7. "compare it to the same model trained with Adam in 3.1"
    with contextlib.suppress(UserError):  # a damaged record of part 3 is no fault of part 5
        records["Adam in part 3"] = read_runs(out, "part3", options.arch)
    for key in ("one drop", "two drops", "Adam", "Adam in part 3"):
        print(f"{key}: test accuracy {describe(records.get(key, []))}")
    cli.print_figures(out, f"{stem}*.png")


if __name__ == "__main__":
    cli.run(main)
