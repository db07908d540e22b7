"""Part 4: ReLU against the logistic sigmoid in the five architectures, trained with SGD.

Both networks of an architecture start from the same weights (except with --initialized) and see the
same batches. The runs are recorded in OUT/runs/part4. The dictionary of an architecture,
OUT/part4_<name>.pkl, holds the curves of the first run. The figures show losses and gradients
(part4.png) and how several runs vary (part4_spread.png). There is no validation set here, because
the assignment splits one off in parts 3 and 5 only. With --unscaled and --initialized the names of
folders and files begin with part4_unscaled and part4_initialized.

    python part4_activations.py                                # all five architectures
    python part4_activations.py --runs 5                       # and how much the curves vary
    python part4_activations.py --unscaled                     # bonus question: pixels 0 to 255
    python part4_activations.py --initialized                  # Glorot's and He's initialization
    python part4_activations.py --dataset synthetic --quick    # a minute, no data needed
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from data import BatchLoader, Data
from experiments import ends
from experiments.aggregate import label
from experiments.config import RunConfig
from experiments.options import parse, training_parser
from experiments.plots import plot_activation_spread
from experiments.records import Record
from experiments.runner import train_missing
from experiments.storage import UserError, save_dictionary
from experiments.training import describe_optimizer, evaluate, mean_loss_and_accuracy, new_model
from models import ARCHITECTURES, first_layer
from utils import part4Plots

PART = "part4"  # "by prefixing 'part4' in the front"
EPOCHS = 15  # "train the ANN for 15 epochs"
RUNS = 1  # "Repeat" is asked for in part 3 only; --runs 5 shows how much the curves vary
LEARNING_RATE = 0.01  # "constant learning rate of 0.01"
BATCH_SIZE = 50  # "batch size of 50 samples"
PIXEL_RANGE = (-1.0, 1.0)  # "the pixel values are scaled to [-1.0, 1.0]"
UNSCALED = (0.0, 255.0)  # "Bonus: What might happen if we do not scale the inputs"
RECORD_EVERY = 10  # "at every 10 steps"
# "ReLU activation function" and "the logistic sigmoid": classes of torch.nn by their names in the
# dictionary's keys. A third one gets its keys and its column in the figures
ACTIVATIONS = {"relu": "ReLU", "sigmoid": "Sigmoid"}
# With --initialized, a test of the answer to 4.2.2: the initialization made for each activation
INITIALIZATIONS = {"relu": "he", "sigmoid": "glorot"}
QUICK_EPOCHS = 4


def new_optimizer(parameters) -> torch.optim.Optimizer:
    # "Use SGD": "0.0 momentum (no momentum)" and "no weight regularization" are its defaults
    return torch.optim.SGD(parameters, lr=LEARNING_RATE)


def configure(
    name: str,
    activation: str,
    kind: str = "",
    epochs: int = EPOCHS,
    batch_size: int = BATCH_SIZE,
    **settings: Any,
) -> RunConfig:
    """Define the first run of an architecture with one activation function.

    kind: "", "unscaled" or "initialized". settings: dataset, quick and seed, if they
    are not the defaults of `RunConfig`.
    """
    optimizer, learning_rate = describe_optimizer(new_optimizer)  # as it stands in the record
    initialized = kind == "initialized"
    if initialized and activation not in INITIALIZATIONS:
        raise UserError(f"INITIALIZATIONS says nothing of {activation}")
    return RunConfig(
        part=f"{PART}_{kind}" if kind else PART, variant=f"{name}_{activation}",
        architecture=name, activation=ACTIVATIONS[activation],
        initialization=INITIALIZATIONS[activation] if initialized else "default",
        optimizer=optimizer, learning_rates=(learning_rate,),
        epochs=epochs, batch_size=batch_size, record_every=RECORD_EVERY,
        split_seed=None,  # all 50,000 training images
        pixel_range=UNSCALED if kind == "unscaled" else PIXEL_RANGE, **settings,
    )  # fmt: skip


def train_run(config: RunConfig, data: Data, advance: Callable[[int], None]) -> dict:
    """Train one network and record its loss and gradient: task 1 of section 4.1.

    data: the sets, scaled to `config.pixel_range`. `advance(step)` is called at every point of the
    curves, which shows the progress.

    Returns the curves (lists of scalar tensors), the test accuracy and the weights.
    """
    # "replaces ReLU": models.build puts config.activation wherever 3.1 has ReLU
    model = new_model(config, data.train.images.device)
    weight = first_layer(model).weight
    loss_function = nn.CrossEntropyLoss()  # applies the softmax to the logits
    optimizer = new_optimizer(model.parameters())
    # "Shuffle training set after each epoch": each iteration over it has a new order
    train_generator = BatchLoader(data.train, config.batch_size, shuffle=True, seed=config.seed)
    loss_curve, train_acc_curve, grad_curve = [], [], []
    step, batches = 0, []
    for _ in range(config.epochs):
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
                # "Record the training loss and magnitude of the loss gradient with respect to the
                # weights of the first layer at every 10 steps". The loss is the mean over the
                # batches since the point before. The magnitude is the Euclidean norm of dL/dW at
                # this very step. The assignment's hint, the weights at two steps, gives the same up
                # to rounding (question 1.2).
                mean_loss, train_acc = mean_loss_and_accuracy(batches)
                loss_curve.append(mean_loss)
                train_acc_curve.append(train_acc)
                grad_curve.append(weight.grad.norm())
                batches.clear()
                advance(step)
    return {
        "loss_curve": loss_curve,
        "train_acc_curve": train_acc_curve,
        "grad_curve": grad_curve,
        "test_acc": evaluate(model, data.test),
        "weights": weight,
    }


def combine(name: str, first: Mapping[str, Record]) -> dict:
    """Make the dictionary of an architecture from its first runs, by activation.

    The assignment describes 'sigmoid_grad_curve' as "with ReLU"; it means the sigmoid's.
    """
    curves = [(activation, c) for c in ("loss_curve", "grad_curve") for activation in first]
    return {"name": name} | {f"{a}_{curve}": first[a][curve].tolist() for a, curve in curves}


def main() -> None:
    parser = training_parser(
        __doc__, arch=list(ARCHITECTURES), choices=list(ARCHITECTURES),
        runs=(RUNS, RUNS), epochs=(EPOCHS, QUICK_EPOCHS), batch_size=BATCH_SIZE,
    )  # fmt: skip
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--unscaled", dest="kind", action="store_const", const="unscaled", default="",
        help="pixels from 0 to 255 instead of -1 to 1 (bonus question)",
    )  # fmt: skip
    group.add_argument(
        "--initialized", dest="kind", action="store_const", const="initialized",
        help="initial weights of Glorot (sigmoid) and He (ReLU)",
    )  # fmt: skip
    options = parse(parser)
    configs = [
        configure(name, activation, options.kind, **options.settings())
        for name in options.arch for activation in ACTIVATIONS
    ]  # fmt: skip
    recorded = train_missing(configs, train_run, options)

    out, part = options.out, configs[0].part
    records, results = {}, []
    for name in options.arch:
        runs = {a: recorded.get(f"{name}_{a}") for a in ACTIVATIONS}
        if not all(runs.values()):  # with --plot-only one activation may be all there is
            continue
        records |= {(name, a): of_one for a, of_one in runs.items()}
        first = {a: of_one[0] for a, of_one in runs.items()}
        record = next(iter(first.values()))
        result = combine(label(name, record), first)
        if not options.plot_only:
            save_dictionary(out / f"{part}_{name}.pkl", result)  # task 2
        results.append({**result, "epochs": record.config["epochs"]})  # for the axis
    if not results:
        raise UserError(f"{out}: no network is recorded with {' and '.join(ACTIVATIONS)}")
    part4Plots(results, save_dir=str(out), filename=part, show_plot=False)
    title = label(PART.replace("part", "part "), record)
    plot_activation_spread(records, title, out / f"{part}_spread.png")
    print(f"dictionaries and figures: {out / part}*")


if __name__ == "__main__":
    ends.run(main)
