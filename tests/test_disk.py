"""A disk that fills up, a file that may not grow, a folder that becomes read-only."""

import resource

import pytest
from helpers_faults import (
    PART3,
    SYNTHETIC,
    assert_one_line,
    assert_succeeds,
    finish,
    mount,
    mounted,
    read_only,
    records,
    results,
    run,
    start,
)

OPTIONS = (*SYNTHETIC, "--processes", 1, "--out", "out", "--runs")  # one after the other
RUNS = 4  # records of 135 kB each


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    assert_succeeds(run(PART3, *OPTIONS, RUNS, cwd=folder))
    return results(folder / "out")


def assert_a_restart_completes(folder, undisturbed):
    assert_succeeds(run(PART3, *OPTIONS, RUNS, cwd=folder))
    assert results(folder / "out") == undisturbed


def limit(size):
    """Options of a process whose files cannot grow over `size` bytes."""
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))}


@pytest.mark.slow
def test_files_that_cannot_grow(undisturbed, tmp_path):
    assert_succeeds(run(PART3, *OPTIONS, 2, cwd=tmp_path))
    earlier = records(tmp_path / "out")
    done = run(PART3, *OPTIONS, RUNS, cwd=tmp_path, **limit(100_000))
    assert_one_line(done, 1, "run_02.npz: cannot be written (File too large)")
    assert records(tmp_path / "out") == earlier

    before = results(tmp_path / "out")
    done = run(PART3, *OPTIONS, 2, "--plot-only", cwd=tmp_path, **limit(10_000))
    assert_one_line(done, 1, "part3_architectures.py: out/part3.png: File too large")
    assert results(tmp_path / "out") == before
    assert_a_restart_completes(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_full_disk(undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "-t", "tmpfs", "-o", "size=320k", "tmpfs"):
        for _ in range(2):  # it is still full when the process starts again
            done = run(PART3, *OPTIONS, RUNS, cwd=disk)
            assert_one_line(done, 1, "run_02.npz: cannot be written (the disk is full)")
            for name, record in results(disk / "out").items():
                assert record == undisturbed[name]
        mount("-o", "remount,size=10m", disk)
        assert_a_restart_completes(disk, undisturbed)


@pytest.mark.slow
def test_a_folder_that_is_read_only(undisturbed, tmp_path):
    assert_succeeds(run(PART3, *OPTIONS, 2, cwd=tmp_path))
    earlier = results(tmp_path / "out")
    with read_only(tmp_path / "out"):
        for more in ([], ["--plot-only"]):
            done = run(PART3, *OPTIONS, RUNS, *more, cwd=tmp_path)
            assert_one_line(done, 2, "argument --out: out cannot be written to")
    assert results(tmp_path / "out") == earlier
    assert_a_restart_completes(tmp_path, undisturbed)


@pytest.mark.slow
def test_a_folder_that_becomes_read_only(undisturbed, tmp_path):
    process = start(PART3, *OPTIONS, RUNS, cwd=tmp_path)
    process.stdout.readline()  # run 0 is recorded
    with read_only(tmp_path / "out"):
        assert_one_line(finish(process), 1, "out/")
    for name, content in results(tmp_path / "out").items():
        assert name.endswith(".tmp") or content == undisturbed[name]
    assert_a_restart_completes(tmp_path, undisturbed)
