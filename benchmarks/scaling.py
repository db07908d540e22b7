"""How the cost of part 3 grows: wall-clock time against epochs, runs and processes.

    python benchmarks/scaling.py    # about four minutes on two idle cores

Each line is a real `part3_architectures.py --dataset synthetic --quick` into an empty folder, alone
or under torchrun, from its start to its figures. "s a run" leaves out the time of a start, which is
measured with one run of one epoch and so a little too long.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package's modules

import cli
import script

SCRIPT = Path(cli.__file__).with_name("part3_architectures.py")
ARCHITECTURES = ("mlp_1", "cnn_4")
EPOCHS, RUNS = 4, 4  # what is varied is varied from here


def seconds(arch: str, *, epochs: int, runs: int, processes: int, threads: int) -> float:
    """How long part 3 takes on the quick synthetic set."""
    with tempfile.TemporaryDirectory() as out:
        command = [
            str(SCRIPT), "--dataset", "synthetic", "--quick",
            "--arch", arch, "--epochs", str(epochs), "--runs", str(runs),
            "--threads", str(threads), "--out", out,
        ]  # fmt: skip
        launcher = [sys.executable]
        if processes > 1:
            launcher += ["-m", "torch.distributed.run", "--standalone"]
            launcher += ["--nproc-per-node", str(processes)]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        start = time.perf_counter()
        subprocess.run(launcher + command, env=environment, capture_output=True, check=True)
        return time.perf_counter() - start


def main() -> None:
    cli.Parser(__doc__).parse_args()
    cores = cli.num_cores()
    print(f"{cores} cores\n\n{'':8}epochs  runs  processes  threads  seconds  s a run")
    for arch in ARCHITECTURES:
        start = seconds(arch, epochs=1, runs=1, processes=1, threads=cores)
        lines = [(epochs, RUNS, 1, cores) for epochs in (EPOCHS, 2 * EPOCHS, 4 * EPOCHS)]
        lines += [(EPOCHS, runs, 1, cores) for runs in (2 * RUNS, 4 * RUNS)]
        lines += [(EPOCHS, 4 * RUNS, n, max(1, cores // n)) for n in (1, cores, 2 * cores)]
        for epochs, runs, processes, threads in lines:
            spent = seconds(arch, epochs=epochs, runs=runs, processes=processes, threads=threads)
            each = (spent - start) / runs
            print(
                f"{arch:8}{epochs:6}{runs:6}{processes:11}{threads:9}{spent:9.1f}{each:9.2f}",
                flush=True,
            )


if __name__ == "__main__":
    script.run(main)
