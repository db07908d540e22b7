"""Part 3: five architectures on grayscale CIFAR-10, 10 runs each, trained with Adam.

Every run is recorded in OUT/runs/part3, and the dictionary of an architecture, the averages over
its runs, is pickled as OUT/part3_<name>.pkl. The figures are the performance comparison
(part3.png), the spread over the runs (part3_spread.png) and the weights of the first layers
(part3_weights_<name>.png). Recorded runs are never trained again. The architectures, with strides
and padding, are in models.py.

    python part3_architectures.py                                # all: hours on a CPU
    python part3_architectures.py --arch mlp_1 cnn_4             # two architectures
    python part3_architectures.py --dataset synthetic --quick    # a minute, no data needed
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from data import SPLIT_SEED, BatchLoader, Data
from experiments import ends
from experiments.aggregate import label, mean_curve
from experiments.config import RunConfig
from experiments.options import parse, training_parser
from experiments.plots import plot_spread
from experiments.records import Record
from experiments.runner import train_missing
from experiments.storage import save_dictionary
from experiments.training import describe_optimizer, evaluate, mean_loss_and_accuracy, new_model
from models import ARCHITECTURES, first_layer
from utils import part3Plots, visualizeWeights

PART = "part3"  # "by prefixing 'part3' in the front"
EPOCHS = 15  # "train the ANN for 15 epochs"
RUNS = 10  # "Repeat 1 for at least 10 times"
BATCH_SIZE = 50  # "use batch size of 50 samples"
PIXEL_RANGE = (-1.0, 1.0)  # "the pixel values are scaled to [-1.0, 1.0]"
RECORD_EVERY = 10  # "for every 10 steps"
QUICK_EPOCHS, QUICK_RUNS = 4, 2


def new_optimizer(parameters) -> torch.optim.Optimizer:
    # "adaptive moment estimation (Adam) with default parameters": a learning rate of 0.001, and "no
    # weight regularization". Fused is the same arithmetic, faster
    return torch.optim.Adam(parameters, fused=True)


def configure(
    name: str, epochs: int = EPOCHS, batch_size: int = BATCH_SIZE, **settings: Any
) -> RunConfig:
    """Define the first run of an architecture. The others differ in their seed only.

    settings: dataset, quick and seed, if they are not the defaults of `RunConfig`.
    """
    optimizer, learning_rate = describe_optimizer(new_optimizer)  # as it stands in the record
    return RunConfig(
        part=PART, variant=name, architecture=name, activation="ReLU",
        optimizer=optimizer, learning_rates=(learning_rate,),
        epochs=epochs, batch_size=batch_size, record_every=RECORD_EVERY,
        # "Split 10% of the training data as the validation set": data.stratified_split does it
        split_seed=SPLIT_SEED, pixel_range=PIXEL_RANGE, **settings,
    )  # fmt: skip


def train_run(config: RunConfig, data: Data, advance: Callable[[int], None]) -> dict:
    """Train one network and record its curves: task 1 of section 3.1.

    data: the three sets, scaled to `config.pixel_range`. `advance(step)` is called at every point
    of the curves, which shows the progress.

    Returns the curves (lists of scalar tensors), the test accuracy and the weights.
    """
    model = new_model(config, data.train.images.device)  # models.py, with the weights of its seed
    loss_function = nn.CrossEntropyLoss()  # applies the softmax to the logits
    optimizer = new_optimizer(model.parameters())
    # "Shuffle training set after each epoch": each iteration over it has a new order
    train_generator = BatchLoader(data.train, config.batch_size, shuffle=True, seed=config.seed)
    loss_curve, train_acc_curve, val_acc_curve = [], [], []
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
                # "Record the training loss, training accuracy, validation accuracy for every 10
                # steps"; the first two are means over the batches since the point before (without
                # dropout or batch norm they are what eval() mode gives before each update)
                mean_loss, train_acc = mean_loss_and_accuracy(batches)
                loss_curve.append(mean_loss)
                train_acc_curve.append(train_acc)
                val_acc_curve.append(evaluate(model, data.val))  # in model.eval() mode
                batches.clear()
                advance(step)
    # "After training, compute test accuracy; record the weights of the first layer as numpy array":
    # experiments.runner makes arrays of all of these
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
    parser = training_parser(
        __doc__, arch=list(ARCHITECTURES), choices=list(ARCHITECTURES),
        runs=(RUNS, QUICK_RUNS), epochs=(EPOCHS, QUICK_EPOCHS), batch_size=BATCH_SIZE,
    )  # fmt: skip
    options = parse(parser)
    out = options.out
    configs = [configure(name, **options.settings()) for name in options.arch]
    records = train_missing(configs, train_run, options)

    results = []
    for name, of_runs in records.items():
        result = average(label(name, of_runs[0]), of_runs)
        if not options.plot_only:
            save_dictionary(out / f"{PART}_{name}.pkl", result)  # task 4
        visualizeWeights(result["weights"], str(out), filename=f"{PART}_weights_{name}")
        results.append({**result, "epochs": of_runs[0].config["epochs"]})  # for the axis
    part3Plots(results, save_dir=str(out), filename=PART, show_plot=False)
    title = label(PART.replace("part", "part "), of_runs[0])
    plot_spread(records, title, out / f"{PART}_spread.png")
    print(f"dictionaries and figures: {out / PART}*")


if __name__ == "__main__":
    ends.run(main)
