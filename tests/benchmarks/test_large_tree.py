import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.load.connection import Connection
from benchmarks.load.requests import PEAK
from benchmarks.outcome import MIB
from benchmarks.workloads.large_tree import LAYERS, Tree, measured, run_measured
from benchmarks.workloads.trees import has_room


def test_the_garbage_of_a_tree_is_collected_and_put_back(tmp_path: Path) -> None:
    """The rows are of a collection that took all that nothing needs; the tree is then as it was."""
    tree = Tree(str(tmp_path / "tree"), 40 * LAYERS, 2)
    tree.write()
    names = files(tmp_path)
    with pytest.raises(RuntimeError, match="layer 0 is still there"):
        tree.check()
    program = Cargohold.find()
    assert program is not None
    contestant = Cargohold(program)
    start, collect = measured(tree, [contestant], str(tmp_path)).rows
    assert 0 < start.figures["first answer s"] <= start.figures["first manifest s"]
    assert collect.figures["seconds"] > 0
    assert collect.figures[PEAK] > 5
    assert names == files(tmp_path)
    with tree.served_by(contestant, str(tmp_path)) as server, Connection(server.port) as connection:
        connection.ask(200, "GET", f"/v2/{tree.repository(LAYERS)}/manifests/v{LAYERS}")


def test_the_memory_of_a_program_is_its_own_and_the_highest(tmp_path: Path) -> None:
    """What the benchmark has in memory as it starts a program is not the program's, which then gives back its own."""
    ours = b"1" * (400 * MIB)
    program = f"import time; x = b'1' * {100 * MIB}; del x; time.sleep(0.2)"
    figures = run_measured([sys.executable, "-c", program], str(tmp_path / "log"))
    assert 100 < figures[PEAK] < 200 < len(ours) / MIB


def test_room() -> None:
    """What is taken from memory must be had twice; files are counted where their number has a limit."""
    assert has_room(1 << 20, 10)
    assert not has_room(1 << 60)
    assert has_room(0, 1 << 60) == (os.statvfs("/dev/shm").f_files == 0)


def test_a_collection_of_less_than_all_of_the_tree_is_not_told(tmp_path: Path) -> None:
    """A run that did not go through every repository has figures of something else."""
    tree = Tree(str(tmp_path / "tree"), 40 * LAYERS, 2)
    tree.write()
    program = Cargohold.find()
    assert program is not None
    with pytest.raises(RuntimeError, match="not all of 3 repositories"):
        measured(replace(tree, repositories=3), [Cargohold(program)], str(tmp_path))


def files(folder: Path) -> set[Path]:
    docker = folder / "tree" / "docker"
    return {path.relative_to(docker) for path in docker.rglob("*") if path.is_file()}
