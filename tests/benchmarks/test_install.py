import os
from pathlib import Path

import pytest
from benchmarks import install

BUILD = install.Build("example.org/tool/cmd/tool", "v1.2.3", {"CGO_ENABLED": "0"}, ("-ldflags", "-s -w"))
# Stands for the compiler: notes what it was called with, and leaves a program, unless the version is one that fails.
GO = """\
#!/bin/sh
echo "$CGO_ENABLED $*" >> "$GOBIN/calls"
case "$*" in *@v0*) echo 'no such version' >&2; exit 1;; esac
echo program > "$GOBIN/tool"
"""


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, programs = tmp_path / "built", tmp_path / "programs"
    programs.mkdir()
    (programs / "go").write_text(GO)
    (programs / "go").chmod(0o755)
    monkeypatch.setattr(install, "BUILT", str(folder))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return folder


def test_a_program_is_built_once_for_each_version(built: Path) -> None:
    """What is there in the version that is wanted stays; another version takes its place."""
    newer = BUILD._replace(version="v1.3.0")
    for build in (BUILD, BUILD, newer, newer):
        install.build("tool", build)
    assert (built / "calls").read_text().splitlines() == [
        "0 install -trimpath -ldflags -s -w example.org/tool/cmd/tool@v1.2.3",
        "0 install -trimpath -ldflags -s -w example.org/tool/cmd/tool@v1.3.0",
    ]


def test_what_cannot_be_built_is_told_and_tried_again(
    built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The compiler's own words say why; nothing else is stopped by it."""
    missing = BUILD._replace(version="v0.0.1")
    install.build("tool", missing)
    assert "tool: not built: go install -trimpath ended with 1: no such version" in capsys.readouterr().out
    install.build("tool", missing)
    assert len((built / "calls").read_text().splitlines()) == 2


def test_without_a_compiler_it_is_said_that_one_is_needed(
    built: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And no folder is made for what is not there."""
    monkeypatch.setenv("PATH", "/nowhere")
    install.build("tool", BUILD)
    assert capsys.readouterr().out == "tool: not built: that takes Go\n"
    assert not built.exists()
