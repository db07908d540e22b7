"""Figures beyond the course's helpers: the spread over runs, the schedules of part 5."""

from collections.abc import Sequence

from runs import Record


def plot_spread(
    finished: dict[str, Sequence[Record]], save_dir: str, filename: str, title: str
) -> None:
    """Placeholder."""
