"""Define one run: its architecture, optimizer, data and seed, as pure data."""

import json
import math
from dataclasses import asdict, dataclass, fields, replace


@dataclass(frozen=True)
class RunConfig:
    """All that defines the result of one run, except the data's checksum."""

    part: str  # "part3"
    variant: str  # tells apart the kinds of runs of a part: "cnn_3", "cnn_3_relu", "cnn_4_lr_0.1"
    architecture: str
    activation: str  # the name of a class of torch.nn
    optimizer: str  # the name of a class of torch.optim; all other parameters are its defaults
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    record_every: int  # steps between two points of the curves
    seed: int  # of the initial weights and of the batch order
    dataset: str
    split_seed: int | None  # None: no validation set
    pixel_range: tuple[float, float]
    index: int = 0  # the number of the run, from 0
    drop_epochs: tuple[int, ...] = ()  # the learning rate drops after each of these epochs
    initialization: str = "default"

    def __str__(self) -> str:
        return f"{self.part} {self.variant} run_{self.index:02d}"

    def phases(self) -> list[tuple[float, range]]:
        """Return a pair for each phase: its learning rate and the range of its epochs, from 0."""
        starts, stops = (0, *self.drop_epochs), (*self.drop_epochs, self.epochs)
        return list(zip(self.learning_rates, map(range, starts, stops), strict=True))

    def num_steps(self, num_images: int) -> int:
        """Return the number of steps with `num_images` training images."""
        return self.epochs * math.ceil(num_images / self.batch_size)

    def definition(self, data_sha256: str) -> dict:
        """Return the definition as it stands in a record."""
        values = {k: v for k, v in asdict(self).items() if k not in ("variant", "index")}
        values["data_sha256"] = data_sha256
        return json.loads(json.dumps(values))  # tuples become lists, as in a record


# Records that were written before a field existed have its default
ADDED_LATER = {"initialization": "default"}
KEYS = {field.name for field in fields(RunConfig)} - {"variant", "index"} | {"data_sha256"}


def replicate(config: RunConfig, runs: int) -> list[RunConfig]:
    """Return `runs` copies of `config`. Run r has the index r and the seed `config.seed` + r."""
    return [replace(config, index=r, seed=config.seed + r) for r in range(runs)]
