"""Define one run: its network, optimizer, data and seed, as pure data."""

import json
import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from experiments.storage import UserError
from models import build


@dataclass(frozen=True)
class RunConfig:
    """All that defines the result of one run, except the checksum of the data."""

    part: str  # "part3"; the prefix of the files
    variant: str  # tells apart the kinds of runs of a part: "cnn_3", "cnn_3_relu", "cnn_4_0.1"
    architecture: str  # a key of models.ARCHITECTURES
    activation: str  # the name of a class of torch.nn
    optimizer: str  # from training.describe_optimizer
    learning_rates: tuple[float, ...]  # one for each phase of the run
    epochs: int
    batch_size: int
    record_every: int  # steps between two points of the curves
    split_seed: int | None  # of the validation set; None: there is no validation set
    pixel_range: tuple[float, float]
    drop_epochs: tuple[int, ...] = ()  # the learning rate drops after each of these epochs
    initialization: str = "default"
    dataset: str = "cifar10"
    quick: bool = False  # on fewer images
    seed: int = 0  # of the initial weights and of the batch order
    index: int = 0  # the number of the run, from 0

    def __str__(self) -> str:
        return f"{self.part} {self.variant} run_{self.index:02d}"

    def network(self) -> nn.Module:
        """Build the network. Its weights are drawn from PyTorch's global generator.

        Raises UserError if torch.nn does not have the activation.
        """
        if self.activation not in vars(nn):
            raise UserError(f"{self}: torch.nn has no {self.activation!r}")
        return build(self.architecture, getattr(nn, self.activation))

    def phases(self) -> list[tuple[float, range]]:
        """Return a pair for each phase: its learning rate and the range of its epochs, from 0."""
        starts, stops = (0, *self.drop_epochs), (*self.drop_epochs, self.epochs)
        return list(zip(self.learning_rates, map(range, starts, stops), strict=True))

    def num_steps(self, num_images: int) -> int:
        """Return the number of steps with `num_images` training images."""
        return self.epochs * math.ceil(num_images / self.batch_size)

    def definition(self, data_sha256: str) -> dict:
        """Return the definition as it stands in a record, with the network's layers."""
        values = {k: v for k, v in asdict(self).items() if k not in ("variant", "index")}
        with torch.device("meta"):  # without weights
            layers = [str(layer) for layer in self.network().children()]
        # In place or not is a matter of memory
        values["layers"] = [layer.replace("inplace=True", "") for layer in layers]
        values["data_sha256"] = data_sha256
        return json.loads(json.dumps(values))  # tuples become lists, as in a record

    def replicate(self, runs: int) -> list["RunConfig"]:
        """Return `runs` copies. Run r has the index r and the seed `self.seed` + r."""
        return [replace(self, index=r, seed=self.seed + r) for r in range(runs)]
