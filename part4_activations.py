"""Part 4: ReLU against the logistic sigmoid in the five architectures, trained with SGD.

Both networks of an architecture start from the same weights and see the same batches. Records them
in OUT/runs/part4, pickles OUT/part4_<name>.pkl and draws losses and gradients (part4.png). There is
no validation set here: the assignment splits one off in parts 3 and 5 only.

    python part4_activations.py                                # all five
    python part4_activations.py --unscaled                     # bonus question: pixels 0 to 255
    python part4_activations.py --dataset synthetic --quick    # a minute, no data needed
    torchrun --nproc-per-node=4 part4_activations.py           # share the trainings
"""

from argparse import Namespace
from collections.abc import Callable, Sequence

import cli
import script
from averages import find_finished, label, mean_curve
from data import SCALED, UNSCALED, Data
from files import save_dictionary
from models import ARCHITECTURES, first_layer
from records import Record, Run, repeat
from runs import complete
from training import accuracy, train
from utils import part4Plots

EPOCHS = 15  # "train the ANN for 15 epochs"
LEARNING_RATE = 0.01  # "SGD [...], constant learning rate of 0.01, 0.0 momentum"
ACTIVATIONS = {"relu": "ReLU", "sigmoid": "Sigmoid"}  # in keys of the dictionary, in torch.nn
RUNS, QUICK_EPOCHS = 1, 4


def plan(name: str, activation: str, options: Namespace) -> list[Run]:
    """The trainings of one architecture with one activation function."""
    return repeat(
        options,
        part=part_name(options),
        variant=f"{name}_{activation}",
        architecture=name,
        activation=ACTIVATIONS[activation],
        optimizer="SGD",
        learning_rates=(LEARNING_RATE,),
        split_seed=None,
        pixel_range=UNSCALED if options.unscaled else SCALED,
    )


def part_name(options: Namespace) -> str:
    """What the files of this training are called."""
    return "part4_unscaled" if options.unscaled else "part4"


def train_run(run: Run, data: Data, advance: Callable[[int], None]) -> dict:
    """Task 1 of section 4.1: train a network and look at its first gradient every 10 steps."""
    model, generator = run.start(data)
    weight = first_layer(model).weight
    ((learning_rate, epochs),) = run.phases()
    optimizer = run.optimizer_for(model, learning_rate)
    loss_curve, train_acc_curve, grad_curve = [], [], []
    for point in train(model, optimizer, data.train, epochs, run.batch_size, generator):
        loss_curve.append(point.loss)
        train_acc_curve.append(point.accuracy)
        grad_curve.append(weight.grad.norm())  # Euclidean, of dL/dW at this very step
        advance(point.step)
    return {
        "loss_curve": loss_curve,
        "train_acc_curve": train_acc_curve,
        "grad_curve": grad_curve,
        "test_acc": accuracy(model, data.test),
        "weights": weight,
    }


def combine(name: str, relu: Sequence[Record], sigmoid: Sequence[Record]) -> dict:
    """The dictionary of one architecture.

    The assignment describes 'sigmoid_grad_curve' as "with ReLU"; it means the sigmoid's.
    """
    return {
        "name": name,
        "relu_loss_curve": mean_curve(relu, "loss_curve"),
        "sigmoid_loss_curve": mean_curve(sigmoid, "loss_curve"),
        "relu_grad_curve": mean_curve(relu, "grad_curve"),
        "sigmoid_grad_curve": mean_curve(sigmoid, "grad_curve"),
    }


def main() -> None:
    parser = cli.training_parser(
        __doc__,
        runs=(RUNS, RUNS),
        epochs=(EPOCHS, QUICK_EPOCHS),
        architectures=list(ARCHITECTURES),
    )
    parser.add_argument(
        "--unscaled", action="store_true", help="pixels from 0 to 255 instead of -1 to 1 (bonus)"
    )
    options = cli.parse_training_options(parser)
    names = [options.arch] if options.arch else list(ARCHITECTURES)
    plans = {(n, a): plan(n, a, options) for n in ARCHITECTURES for a in ACTIVATIONS}
    required = [(n, a) for n in names for a in ACTIVATIONS]
    if not options.plot_only:
        complete([run for key in required for run in plans[key]], train_run, options)

    finished = find_finished(plans, required, options)
    results = {
        name: combine(label(name, options), *(finished[name, a] for a in ACTIVATIONS))
        for name in ARCHITECTURES
        if all((name, a) in finished for a in ACTIVATIONS)
    }
    part = part_name(options)
    if not options.plot_only:
        for name in names:  # task 2
            save_dictionary(options.out / f"{part}_{name}.pkl", results[name])
    part4Plots(list(results.values()), save_dir=str(options.out), filename=part, show_plot=False)
    cli.print_figures(options.out, f"{part}.png")


if __name__ == "__main__":
    script.run(main)
