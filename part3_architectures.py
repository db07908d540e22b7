"""Part 3: five architectures on grayscale CIFAR-10, 10 runs each, trained with Adam.

Every run is recorded in OUT/runs/part3, and the dictionary of an architecture, the averages over
its runs, is pickled as OUT/part3_<name>.pkl. The figures are the performance comparison
(part3.png), the spread over the runs (part3_spread.png) and the weights of the first layers
(part3_weights_<name>.png). Recorded runs are never trained again. Strides and padding are in
models.py.

    python part3_architectures.py                                # all: hours on a CPU
    python part3_architectures.py --arch mlp_1                   # one architecture
    python part3_architectures.py --dataset synthetic --quick    # a minute, no data needed
"""

from argparse import Namespace
from collections.abc import Callable, Sequence

from experiments import cli
from experiments.aggregate import mean_curve
from experiments.config import RunConfig, replicate
from experiments.plots import plot_spread
from experiments.records import Record
from experiments.runner import load_finished, run_missing
from experiments.storage import save_dictionary
from experiments.training import evaluate, new_model, new_optimizer, train

from data import BatchLoader, Data
from models import ARCHITECTURES, first_layer
from utils import part3Plots, visualizeWeights

EPOCHS = 15  # "train the ANN for 15 epochs"
RUNS = 10  # "Repeat 1 for at least 10 times"
OPTIMIZER, LEARNING_RATE = "Adam", 0.001  # "(Adam) with default parameters", as this is
# "Use no weight regularization": no weight decay, see new_optimizer
BATCH_SIZE = 50  # "use batch size of 50 samples"
PIXEL_RANGE = (-1.0, 1.0)  # "the pixel values are scaled to [-1.0, 1.0]"
# "Split 10% [...] equal number of samples for each class", one split for all runs: data.prepare
SPLIT_SEED = 449
RECORD_EVERY = 10  # "for every 10 steps"
QUICK_EPOCHS, QUICK_RUNS = 4, 2


def configure(name: str, options: Namespace) -> RunConfig:
    """Define the first run of an architecture. The others differ in their seed only."""
    return RunConfig(
        part="part3", variant=name, seed=options.seed,
        architecture=name, activation="ReLU",
        optimizer=OPTIMIZER, learning_rates=(LEARNING_RATE,), epochs=options.epochs,
        batch_size=options.batch_size, record_every=RECORD_EVERY,
        dataset=options.dataset, split_seed=SPLIT_SEED, pixel_range=PIXEL_RANGE,
    )  # fmt: skip


def train_run(config: RunConfig, data: Data, advance: Callable[[int], None]) -> dict:
    """Train one network and record its curves: task 1 of section 3.1.

    data: from `data.prepare`, which `experiments.runner` calls: scaled to `config.pixel_range` and
    split by `config.split_seed`.
    `advance(step)` is called at every point. Returns the curves (lists of scalar tensors), the test
    accuracy and the weights; `experiments.runner` makes NumPy arrays of them.
    """
    model = new_model(config, data.train.images.device)
    optimizer = new_optimizer(config, model, LEARNING_RATE)
    # "Shuffle training set after each epoch": each iteration draws a new order
    train_generator = BatchLoader(data.train, config.batch_size, shuffle=True, seed=config.seed)
    loss_curve, train_acc_curve, val_acc_curve = [], [], []
    epochs = range(config.epochs)
    # "necessary optimization steps": train does them: forward, loss, zero_grad, backward, step
    for point in train(model, optimizer, train_generator, epochs, config.record_every):
        # "Record the training loss, training accuracy, validation accuracy for every 10 steps";
        # the first two are means over the batches since the point before
        loss_curve.append(point.loss)
        train_acc_curve.append(point.accuracy)
        val_acc_curve.append(evaluate(model, data.val))  # in model.eval() mode
        advance(point.step)
    # "After training, compute test accuracy; record the weights of the first layer as numpy array",
    # which experiments.runner makes of the tensor
    return {
        "loss_curve": loss_curve,
        "train_acc_curve": train_acc_curve,
        "val_acc_curve": val_acc_curve,
        "test_acc": evaluate(model, data.test),
        "weights": first_layer(model).weight,
    }


def average(name: str, records: Sequence[Record]) -> dict:
    """Make the dictionary of an architecture from its runs: tasks 2 and 3."""
    best = max(records, key=lambda record: record.test_acc)  # "the best test accuracy"
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
        batch_size=BATCH_SIZE,
        architectures=list(ARCHITECTURES),
    )
    options = cli.parse_training_options(parser)
    names = [options.arch] if options.arch else list(ARCHITECTURES)
    # Run r has the seed --seed + r. The figures show all architectures that are recorded
    plans = {n: replicate(configure(n, options), options.runs) for n in ARCHITECTURES}
    run_missing([config for name in names for config in plans[name]], train_run, options)

    records = load_finished(plans, names, options)
    results = {name: average(cli.label(name, options), records[name]) for name in records}
    if not options.plot_only:
        for name in names:  # task 4: "prefixing 'part3' in the front"
            save_dictionary(options.out / f"part3_{name}.pkl", results[name])
    save_dir = str(options.out)
    part3Plots(list(results.values()), save_dir=save_dir, filename="part3", show_plot=False)
    plot_spread(records, cli.label("part 3", options), options.out / "part3_spread.png")
    for name, result in results.items():
        visualizeWeights(result["weights"], save_dir, filename=f"part3_weights_{name}")
    cli.print_figures(options.out, "part3*.png")


if __name__ == "__main__":
    cli.run(main)
