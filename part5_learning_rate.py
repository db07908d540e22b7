"""Part 5: SGD with learning rates of 0.1, 0.01 and 0.001, then with a rate lowered in steps.

Every run is recorded in OUT/runs/part5. Run r of all learning rates and schedules starts from the
same weights. The dictionaries OUT/part5_<name>.pkl and OUT/part5_<name>_schedules.pkl hold the
curves of the first runs. The figures show the three learning rates (part5_<name>.png), how several
runs vary (part5_<name>_spread.png), and the two schedules (part5_<name>_schedules.png), which are
compared with Adam over as many epochs.

    python part5_learning_rate.py                                # cnn_4, the best in our part 3
    python part5_learning_rate.py --runs 5                       # and how much the curves vary
    python part5_learning_rate.py --arch mlp_2                   # another one, but not mlp_1
    python part5_learning_rate.py --drop-epochs 5 12             # your own reading of the curves
    python part5_learning_rate.py --long-epochs 100              # and 0.01 for 100 epochs
    python part5_learning_rate.py --dataset synthetic --quick    # a minute, no data needed
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from data import SPLIT_SEED, BatchLoader, Data
from experiments import ends
from experiments.aggregate import describe, label, plateau_epoch
from experiments.config import RunConfig
from experiments.options import Options, parse, positive, training_parser
from experiments.plots import plot_learning_rates, plot_schedules
from experiments.records import Record, read
from experiments.runner import train_missing
from experiments.storage import UserError, save_dictionary
from experiments.training import describe_optimizer, evaluate, mean_loss_and_accuracy, new_model
from models import ARCHITECTURES, first_layer
from utils import part5Plots

PART = "part5"
ARCHITECTURE = "cnn_4"  # "your favorite architecture": best mean validation accuracy in our part 3
EPOCHS, SCHEDULE_EPOCHS = 20, 30  # "train the three ANNs for 20 epochs", "until 30 epochs"
RUNS = 1  # "Repeat" is asked for in part 3 only; --runs 5 shows how much the curves vary
# "initial learning rates 0.1, 0.01 and 0.001". Further ones are drawn, too
LEARNING_RATES = (0.1, 0.01, 0.001)
SCHEDULE = (0.1, 0.01, 0.001)  # "Then, set the learning rate to 0.01", "to 0.001"
ADAM_LEARNING_RATE = 0.001  # its default, as in part 3
LONG_RATE = 0.01  # --long-epochs: "You can increase the number of epochs"
LONG = f"{LONG_RATE} long"
BATCH_SIZE = 50  # "batch size of 50 samples"
PIXEL_RANGE = (-1.0, 1.0)  # "the pixel values are scaled to [-1.0, 1.0]"
RECORD_EVERY = 10  # "for every 10 steps"
QUICK_EPOCHS = 4


def new_optimizer(variant: str, learning_rate: float, parameters) -> torch.optim.Optimizer:
    if variant.endswith("_adam"):  # the kind "Adam": "the same model trained with Adam in 3.1"
        return torch.optim.Adam(parameters, lr=learning_rate, fused=True)
    # "Use SGD": "0.0 momentum (no momentum)" and "no weight regularization" are its defaults
    return torch.optim.SGD(parameters, lr=learning_rate)


def configure(
    name: str,
    kind: str,
    learning_rates: Sequence[float],
    epochs: int,
    drop_epochs: Sequence[int] = (),
    batch_size: int = BATCH_SIZE,
    **settings: Any,
) -> RunConfig:
    """Define the first run of a kind: "0.1", "Adam", "one drop". The others have other seeds.

    drop_epochs: the epochs after which the next learning rate follows. settings: dataset, quick and
    seed, if they are not the defaults of `RunConfig`.
    """
    variant = "_".join([name, *kind.lower().split(), *map(str, drop_epochs)])
    used = [describe_optimizer(partial(new_optimizer, variant, rate)) for rate in learning_rates]
    return RunConfig(
        part=PART, variant=variant, architecture=name, activation="ReLU",
        optimizer=used[0][0], learning_rates=tuple(rate for _, rate in used),
        drop_epochs=tuple(drop_epochs),
        epochs=epochs, batch_size=batch_size, record_every=RECORD_EVERY,
        # "Split 10% of the training data as the validation set": data.stratified_split does it
        split_seed=SPLIT_SEED, pixel_range=PIXEL_RANGE, **settings,
    )  # fmt: skip


def train_run(config: RunConfig, data: Data, advance: Callable[[int], None]) -> dict:
    """Train one network, with a new optimizer for each of its learning rates: section 5.1.

    data: the three sets, scaled to `config.pixel_range`. `advance(step)` is called at every point
    of the curves, which shows the progress.

    Returns the curves (lists of scalar tensors), the test accuracy and the weights.
    """
    model = new_model(config, data.train.images.device)  # models.py, with the weights of its seed
    loss_function = nn.CrossEntropyLoss()  # applies the softmax to the logits
    # "Shuffle training set after each epoch": each iteration over it has a new order
    train_generator = BatchLoader(data.train, config.batch_size, shuffle=True, seed=config.seed)
    loss_curve, train_acc_curve, val_acc_curve = [], [], []
    step, batches = 0, []
    for learning_rate, epochs in config.phases():  # a constant rate has one phase
        # "Create an optimizer with the new learning rate and retrain the model with the new
        # optimizer, without reinitializing model"
        optimizer = new_optimizer(config.variant, learning_rate, model.parameters())
        for _ in epochs:
            for images, labels in train_generator:
                # "Do not forget necessary optimization steps"
                logits = model(images)  # 1. forward pass
                loss = loss_function(logits, labels)  # 2. loss
                optimizer.zero_grad()  # 3. clear the gradients of the step before
                loss.backward()  # 4. backward pass: the gradients of the loss
                optimizer.step()  # 5. update of the weights

                step += 1
                batches.append((loss.detach(), logits.detach(), labels))
                if step % config.record_every == 0:
                    # "Record the training loss and the validation accuracy for every 10 steps";
                    # the loss is the mean over the batches since the point before
                    mean_loss, train_acc = mean_loss_and_accuracy(batches)
                    loss_curve.append(mean_loss)
                    train_acc_curve.append(train_acc)
                    val_acc_curve.append(evaluate(model, data.val))  # in model.eval() mode
                    batches.clear()
                    advance(step)
    return {
        "loss_curve": loss_curve,
        "train_acc_curve": train_acc_curve,
        "val_acc_curve": val_acc_curve,
        "test_acc": evaluate(model, data.test),  # "once the training ends"
        "weights": first_layer(model).weight,
    }


def read_off(record: Record, latest: int, after: int = 0) -> int:
    """Determine "the epoch step where the accuracy stops increasing" in a run, `latest` at most."""
    # None of the next epochs has a mean that is clearly higher: aggregate.PATIENCE, MIN_GAIN
    last = record.config["epochs"]
    epoch = plateau_epoch(record["val_acc_curve"], last, after)
    news = f"stops increasing after epoch {epoch}"
    if epoch == last:
        epoch = min(epoch, latest)
        news = f"still increases in epoch {last}, its last; the rate drops after epoch {epoch}"
    print(f"{record.path.parent.name}: the validation accuracy {news}")
    return epoch


def train(name: str, drops: Sequence[int] | None, options: Options) -> dict[str, list[Record]]:
    """Train with constant learning rates, with Adam and with schedules: section 5.1.

    drops: the two epochs after which the rate drops. They are read off if there are none.

    Returns the records by kind: "0.1", "0.01", "0.001", "Adam", "one drop", "two drops", and
    "0.01 long" where there are such runs.
    """
    settings = options.settings()
    epochs = settings.pop("epochs")
    schedule_epochs = epochs * SCHEDULE_EPOCHS // EPOCHS

    def schedule(*after: int) -> dict[str, RunConfig]:
        kind, rates = ("one drop", "two drops")[len(after) - 1], SCHEDULE[: len(after) + 1]
        return {kind: configure(name, kind, rates, schedule_epochs, after, **settings)}

    def train_kinds(configs: Mapping[str, RunConfig]) -> dict[str, list[Record]]:
        found = train_missing(list(configs.values()), train_run, options)
        for kind, config in configs.items():
            if config.variant not in found and kind != LONG:  # with --plot-only
                raise UserError(f"{options.out}: {config} is not recorded; train it first")
        return {kind: found[c.variant] for kind, c in configs.items() if c.variant in found}

    # "Create three torch.nn.Module objects of initial learning rates 0.1, 0.01 and 0.001"
    rates = dict.fromkeys((*LEARNING_RATES, SCHEDULE[0]))  # the schedules begin as one of them
    configs = {str(rate): configure(name, str(rate), [rate], epochs, **settings) for rate in rates}
    configs["Adam"] = configure(name, "Adam", [ADAM_LEARNING_RATE], schedule_epochs, **settings)
    if options.long_epochs or options.plot_only:
        long_epochs = options.long_epochs or epochs
        configs[LONG] = configure(name, LONG, [LONG_RATE], long_epochs, **settings)
    if drops:  # nothing has to be read off, so all can be trained at the same time
        return train_kinds(configs | schedule(drops[0]) | schedule(*drops))

    found = train_kinds(configs)
    # 1. "Examine the validation accuracy curve of the ANN trained with 0.1 learning rate"
    drop = read_off(found[str(SCHEDULE[0])][0], schedule_epochs - 2)
    # 2 to 4. "with initial learning rate of 0.1 [...] Then, set the learning rate to 0.01"
    found |= train_kinds(schedule(drop))
    # 5. "plot the validation accuracy curve and determine the epoch step where the accuracy [...]"
    next_drop = read_off(found["one drop"][0], schedule_epochs - 1, after=drop)
    # 6 and 7. "Then, set the learning rate to 0.001 and continue training until 30 epochs"
    return found | train_kinds(schedule(drop, next_drop))


def recorded_drops(options: Options) -> dict[str, list[int]]:
    """Return the drops of the first recorded schedule with two, by architecture."""
    drops: dict[str, list[int]] = {}
    for of_runs in read(options.out, PART).values():
        config = of_runs[0].config
        if config["architecture"] in options.arch and len(config["drop_epochs"]) == 2:
            drops.setdefault(config["architecture"], config["drop_epochs"])
    if not drops:
        raise UserError(f"{options.out}: no schedule of {' or '.join(options.arch)} is recorded; "
                        "train without --plot-only")  # fmt: skip
    return drops


def combine(name: str, first: Mapping[str, Record]) -> dict:
    """Make the dictionary of the constant learning rates from their first runs.

    The keys hold a rate's digits after "0.": "loss_curve_01" is that of 0.01.
    """
    digits = {r: np.format_float_positional(r, trim="0").removeprefix("0.") for r in LEARNING_RATES}
    return {"name": name} | {
        f"{curve}_{digits[rate]}": first[str(rate)][curve].tolist()
        for curve in ("loss_curve", "val_acc_curve") for rate in LEARNING_RATES
    }  # fmt: skip


def combine_schedules(name: str, first: Mapping[str, Record]) -> dict:
    """Make the dictionary of the schedules and Adam from their first runs."""
    kinds = {"one_drop": "one drop", "two_drops": "two drops", "adam": "Adam"}
    return {
        "name": name,
        "drop_epochs": first["two drops"].config["drop_epochs"],
        **{f"val_acc_curve_{key}": first[k]["val_acc_curve"].tolist() for key, k in kinds.items()},
        **{f"test_acc_{key}": first[k].test_acc for key, k in kinds.items()},
    }


def main() -> None:
    parser = training_parser(
        __doc__, arch=[ARCHITECTURE],
        choices=[name for name in ARCHITECTURES if name != "mlp_1"],  # "excluding 'mlp_1'"
        runs=(RUNS, RUNS), epochs=(EPOCHS, QUICK_EPOCHS), batch_size=BATCH_SIZE,
    )  # fmt: skip
    parser.add_argument(
        "--drop-epochs", type=positive, nargs=2, metavar=("A", "B"),
        help="lower the learning rate after these epochs instead of those read off",
    )  # fmt: skip
    parser.add_argument(
        "--long-epochs", type=positive, metavar="N",
        help=f"also train with {LONG_RATE} for N epochs",
    )  # fmt: skip
    options = parse(parser)
    drops, last = options.drop_epochs, options.epochs * SCHEDULE_EPOCHS // EPOCHS
    if options.plot_only:  # the networks that are recorded, whatever their options were
        drops_of = {name: drops or found for name, found in recorded_drops(options).items()}
    else:
        drops_of = dict.fromkeys(options.arch, drops)
        if not drops and last < 3:
            parser.error(f"argument --epochs: {last} epochs have no room for two drops")
        if drops and not drops[0] < drops[1] < last:
            parser.error(f"argument --drop-epochs: A < B < {last} is needed, not {drops}")
        if options.world_size > 1 and (not drops or len(options.arch) > 1):
            parser.error("several processes need --drop-epochs A B and one --arch, because "
                         "otherwise one process has to wait for another")  # fmt: skip
    for name in drops_of:
        records = train(name, drops_of[name], options)
        first = {kind: of_runs[0] for kind, of_runs in records.items()}
        title, out, stem = label(name, first["Adam"]), options.out, f"{PART}_{name}"
        result = combine(title, first)
        if not options.plot_only:
            save_dictionary(out / f"{stem}.pkl", result)
            save_dictionary(out / f"{stem}_schedules.pkl", combine_schedules(title, first))
        epochs = first[str(LEARNING_RATES[0])].config["epochs"]  # for the axis
        part5Plots({**result, "epochs": epochs}, save_dir=str(out), filename=stem, show_plot=False)
        constant = {f"learning rate {rate}": records[str(rate)] for rate in LEARNING_RATES}
        plot_learning_rates(title, constant, out / f"{stem}_spread.png")
        if LONG in records:
            longer = constant | {f"learning rate {LONG_RATE}": records[LONG]}
            plot_learning_rates(title, longer, out / f"{stem}_long.png")
        schedules = records | {"constant": records[str(SCHEDULE[0])]}
        plot_schedules(title, schedules, out / f"{stem}_schedules.png")
        # 7. "compare it to the same model trained with Adam in 3.1"
        with contextlib.suppress(UserError):  # part 3 may be recorded elsewhere, or not be whole
            same = {
                key: first["Adam"].config[key] for key in ("optimizer", "layers", "data_sha256")
            }
            records["Adam in part 3"] = [
                r for r in read(out, "part3").get(name, []) if same.items() <= r.config.items()
            ]
        for kind in ("one drop", "two drops", "Adam", "Adam in part 3"):
            print(f"{kind}: test accuracy {describe(records.get(kind, []))}")
        print(f"dictionaries and figures: {out / stem}*")


if __name__ == "__main__":
    ends.run(main)
