from pathlib import Path

import pytest
from benchmarks.contestants.cargohold import Cargohold
from benchmarks.load.connection import Connection
from benchmarks.workloads.large_tree import LAYERS, Tree, measured


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
    assert names == files(tmp_path)
    with tree.served_by(contestant, str(tmp_path)) as server, Connection(server.port) as connection:
        connection.ask(200, "GET", f"/v2/{tree.repository(LAYERS)}/manifests/v{LAYERS}")


def files(folder: Path) -> set[Path]:
    docker = folder / "tree" / "docker"
    return {path.relative_to(docker) for path in docker.rglob("*") if path.is_file()}
