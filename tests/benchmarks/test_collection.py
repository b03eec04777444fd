import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIMIT_SECONDS = 120.0


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The program on a tree of 400 layers in `folder`/storage; what it writes goes to `folder`/results."""
    storage = folder / "storage"
    storage.mkdir()
    where = ["--folder", str(storage), "--results", str(folder / "results")]
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.collection",
            "--blobs",
            "400",
            "--repositories",
            "2",
            *where,
            *words,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )
    assert list(storage.iterdir()) == []
    return ran


def workloads(folder: Path) -> dict[str, dict[str, object]]:
    (results,) = (folder / "results").glob("*-collection/results.json")
    found: dict[str, dict[str, object]] = json.loads(results.read_text())["workloads"]
    return found


def test_a_collection_is_told_and_the_tree_removed(tmp_path: Path) -> None:
    """The report has a row for a collection of all of the tree, and how long the program takes for each part."""
    ran = run(tmp_path, "--pairs", "0")
    assert ran.returncode == 0, ran.stderr
    assert "the tree was made in" in ran.stdout
    assert "the tree was removed in" in ran.stdout
    assert "| collect all of the tree | cargohold |" in ran.stdout
    told = workloads(tmp_path)
    assert list(told) == ["large-tree"]
    assert "The whole took" in str(told["large-tree"]["about"])


def test_what_was_measured_before_a_failure_is_kept(tmp_path: Path) -> None:
    """Pulls need a collection that outlasts them: where the tree is too small for one, that is said."""
    ran = run(tmp_path, "--pairs", "1", "--seconds", "3")
    assert ran.returncode == 1
    assert "more --blobs are needed" in ran.stderr
    assert list(workloads(tmp_path)) == ["large-tree"]


def test_an_end_by_a_signal_leaves_no_tree(tmp_path: Path) -> None:
    """SIGTERM ends the server and removes what was stored, as an interruption at the keyboard does."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.collection", "--blobs", "400", "--folder", str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("the tree was made")
            process.terminate()
            assert process.wait(LIMIT_SECONDS) != 0
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []
