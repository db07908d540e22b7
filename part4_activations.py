"""Part 4: ReLU against the logistic sigmoid in the five architectures, trained with SGD.

Both networks of an architecture start from the same weights (except with --initialized) and see the
same batches. The runs are recorded in OUT/runs/part4. The dictionary of an architecture,
OUT/part4_<name>.pkl, holds the curves of the first run. The figures show losses and gradients
(part4.png) and how several runs vary (part4_spread.png). There is no validation set here, because
the assignment splits one off in parts 3 and 5 only.

    python part4_activations.py                                # all five architectures
    python part4_activations.py --runs 5                       # and how much the curves vary
    python part4_activations.py --unscaled                     # bonus question: pixels 0 to 255
    python part4_activations.py --initialized                  # Glorot's and He's initialization
    python part4_activations.py --dataset synthetic --quick    # a minute, no data needed
"""

from argparse import Namespace
from collections.abc import Callable, Sequence

from experiments import cli
from experiments.config import RunConfig, replicate
from experiments.plots import plot_activation_spread
from experiments.records import Record
from experiments.runner import load_finished, run_missing
from experiments.storage import UserError, save_dictionary
from experiments.training import evaluate, new_model, new_optimizer, train

from data import BatchLoader, Data
from models import ARCHITECTURES, first_layer
from utils import part4Plots

EPOCHS = 15  # "train the ANN for 15 epochs"
RUNS = 1  # "Repeat" is asked for in part 3 only; --runs 5 shows how much the curves vary
OPTIMIZER, LEARNING_RATE = "SGD", 0.01  # "Use SGD [...], constant learning rate of 0.01"
# "0.0 momentum (no momentum)" and "no weight regularization" are the defaults of SGD
BATCH_SIZE = 50  # "batch size of 50 samples"
PIXEL_RANGE = (-1.0, 1.0)  # "the pixel values are scaled to [-1.0, 1.0]"
UNSCALED = (0.0, 255.0)  # "Bonus: What might happen if we do not scale the inputs"
RECORD_EVERY = 10  # "at every 10 steps"
# "ReLU activation function" and "the logistic sigmoid", by their names in the dictionary's keys
ACTIVATIONS = {"relu": "ReLU", "sigmoid": "Sigmoid"}  # classes of torch.nn
# The initialization suited to each activation: a test of the answer to 4.2.2
INITIALIZATIONS = {"relu": "he", "sigmoid": "glorot"}
QUICK_EPOCHS = 4


def configure(name: str, activation: str, options: Namespace) -> RunConfig:
    """Define the first run of an architecture with one activation function."""
    return RunConfig(
        part=part_name(options), variant=f"{name}_{activation}", seed=options.seed,
        architecture=name, activation=ACTIVATIONS[activation],
        initialization=INITIALIZATIONS[activation] if options.initialized else "default",
        optimizer=OPTIMIZER, learning_rates=(LEARNING_RATE,), epochs=options.epochs,
        batch_size=options.batch_size, record_every=RECORD_EVERY,
        dataset=options.dataset, split_seed=None,  # all 50,000 training images
        pixel_range=UNSCALED if options.unscaled else PIXEL_RANGE,
    )  # fmt: skip


def part_name(options: Namespace) -> str:
    """Return the prefix of these runs' files, such as "part4_unscaled"."""
    kind = "_unscaled" * options.unscaled + "_initialized" * options.initialized
    return f"part4{kind}"


def train_run(config: RunConfig, data: Data, advance: Callable[[int], None]) -> dict:
    """Train one network and record its loss and gradient: task 1 of section 4.1.

    Arguments and result are as in part 3.
    """
    # "replaces ReLU": models.build puts config.activation wherever 3.1 has ReLU
    model = new_model(config, data.train.images.device)
    weight = first_layer(model).weight
    optimizer = new_optimizer(config, model, LEARNING_RATE)
    # "Shuffle training set after each epoch": each iteration draws a new order
    train_generator = BatchLoader(data.train, config.batch_size, shuffle=True, seed=config.seed)
    loss_curve, train_acc_curve, grad_curve = [], [], []
    epochs = range(config.epochs)
    for point in train(model, optimizer, train_generator, epochs, config.record_every):
        # "Record the training loss and magnitude of the loss gradient [...] at every 10 steps".
        # The loss is the mean over the batches since the point before. The magnitude is the
        # Euclidean norm of dL/dW at this very step, whose gradients `train` leaves in place. The
        # assignment's hint, the weights at two steps, gives the same up to rounding (1.2).
        loss_curve.append(point.loss)
        train_acc_curve.append(point.accuracy)
        grad_curve.append(weight.grad.norm())
        advance(point.step)
    return {
        "loss_curve": loss_curve,
        "train_acc_curve": train_acc_curve,
        "grad_curve": grad_curve,
        "test_acc": evaluate(model, data.test),
        "weights": weight,
    }


def combine(name: str, relu: Sequence[Record], sigmoid: Sequence[Record]) -> dict:
    """Make the dictionary of an architecture from its first run.

    The assignment describes 'sigmoid_grad_curve' as "with ReLU"; it means the sigmoid's.
    """
    return {
        "name": name,
        "relu_loss_curve": relu[0]["loss_curve"].tolist(),
        "sigmoid_loss_curve": sigmoid[0]["loss_curve"].tolist(),
        "relu_grad_curve": relu[0]["grad_curve"].tolist(),
        "sigmoid_grad_curve": sigmoid[0]["grad_curve"].tolist(),
    }


def main() -> None:
    parser = cli.training_parser(
        __doc__,
        runs=(RUNS, RUNS),
        epochs=(EPOCHS, QUICK_EPOCHS),
        batch_size=BATCH_SIZE,
        architectures=list(ARCHITECTURES),
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--unscaled", action="store_true",
        help="pixels from 0 to 255 instead of -1 to 1 (bonus question)",
    )  # fmt: skip
    kind.add_argument(
        "--initialized", action="store_true",
        help="the CNNs with Glorot's initialization (sigmoid) and He's (ReLU)",
    )  # fmt: skip
    options = cli.parse_training_options(parser)
    architectures = [n for n in ARCHITECTURES if not options.initialized or n.startswith("cnn")]
    names = [options.arch] if options.arch else architectures
    pairs = [(name, activation) for name in ARCHITECTURES for activation in ACTIVATIONS]
    plans = {pair: replicate(configure(*pair, options), options.runs) for pair in pairs}
    required = [(name, activation) for name, activation in pairs if name in names]
    run_missing([config for key in required for config in plans[key]], train_run, options)

    records = load_finished(plans, required, options)
    results = {
        name: combine(cli.label(name, options), *(records[name, a] for a in ACTIVATIONS))
        for name in ARCHITECTURES
        if all((name, a) in records for a in ACTIVATIONS)
    }
    if not results:  # with --plot-only one activation of a network may be all there is
        raise UserError(f"{options.out}: no network is recorded with both activations yet")
    part = part_name(options)
    if not options.plot_only:
        for name in names:  # task 2: "prefixing 'part4' in the front"
            save_dictionary(options.out / f"{part}_{name}.pkl", results[name])
    part4Plots(list(results.values()), save_dir=str(options.out), filename=part, show_plot=False)
    # Single runs on unscaled inputs need the axis of part4Plots
    if not options.unscaled or any(len(runs) > 1 for runs in records.values()):
        spread = options.out / f"{part}_spread.png"
        plot_activation_spread(records, cli.label("part 4", options), spread)
    cli.print_figures(options.out, f"{part}.png", f"{part}_spread.png")


if __name__ == "__main__":
    cli.run(main)
