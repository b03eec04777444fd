"""The command that keeps a file of users, as its user types it."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import bcrypt
import pytest

from cargohold.auth.userfile import parse
from cargohold.cli import rewriting
from tests.cli.test_command import CLEAN, SCRIPT
from tests.http.serving import WAIT_SECONDS, until

if TYPE_CHECKING:
    from pathlib import Path

BEFORE = "# team\n\nann:$2y$04$abcdefghijklmnopqrstuOJi2w5yMkG4T6U9EGWnkgrSKQmEvGyLy:note\n  #end\n"


def run(*arguments: str | Path, password: str | bytes | None = None) -> subprocess.CompletedProcess[str]:
    """The command on a terminal that is none; the password comes by standard input."""
    given = password.encode() if isinstance(password, str) else password or b""
    words = [SCRIPT, "htpasswd", *map(str, arguments), *(["--stdin"] if password is not None else [])]
    ran = subprocess.run(
        words,
        input=given,
        capture_output=True,
        timeout=WAIT_SECONDS,
        check=False,
        env=CLEAN | {"LC_ALL": "C.UTF-8"},
    )
    return subprocess.CompletedProcess(words, ran.returncode, ran.stdout.decode(), ran.stderr.decode())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(BEFORE)
    return path


def opens(file: Path, user: str, password: str) -> bool:
    """Whether the password is the user's, as bcrypt itself has it."""
    return bcrypt.checkpw(password.encode(), parse(file.read_bytes()).entries[user].hash)


def test_create(tmp_path: Path) -> None:
    """A new file has one user, whose hash is of cost 10, and is for its owner's eyes alone."""
    file = tmp_path / "users"
    ran = run("create", file, "ann", password="secret")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", f"made {file} with user ann\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().startswith("ann:$2y$10$")
    assert opens(file, "ann", "secret")
    assert os.listdir(tmp_path) == ["users"]


def test_create_keeps_what_is_there(file: Path) -> None:
    """A file that is there, or a link to nothing, is not made anew."""
    ran = run("create", file, "eve", password="secret")
    assert ran.returncode == 1
    assert ran.stderr == (
        f"cargohold: {file} is there already; add users with: cargohold htpasswd add {file} USER\n"
    )
    assert file.read_text() == BEFORE
    link = file.with_name("link")
    link.symlink_to(file.with_name("none"))
    assert run("create", link, "eve", password="secret").returncode == 1


def test_add(file: Path) -> None:
    """A new user comes at the end; comments and other users stay as they are."""
    ran = run("add", file, "eve", "--cost", "5", password="secret")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert file.read_text().startswith(BEFORE + "eve:$2y$05$")
    assert opens(file, "eve", "secret")


def test_another_password(file: Path) -> None:
    """A user who is there has the new password in the place of the old one."""
    assert run("add", file, "ann", "--cost", "4", password="better").returncode == 0
    assert opens(file, "ann", "better")
    assert [line[:4] for line in file.read_text().splitlines()] == ["# te", "", "ann:", "  #e"]


def test_mode_and_owner_stay(file: Path) -> None:
    """The file stays readable for whom it was, such as the group of the registry."""
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, 1234, 5678)
    before = file.stat()
    assert run("add", file, "eve", "--cost", "4", password="x").returncode == 0
    after = file.stat()
    assert after.st_ino != before.st_ino
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)


def test_a_link_stays_one(file: Path) -> None:
    """Where the file is a link, what it leads to is changed."""
    link = file.with_name("link")
    link.symlink_to("users")
    assert run("add", link, "eve", "--cost", "4", password="x").returncode == 0
    assert link.is_symlink()
    assert opens(file, "eve", "x")


def test_delete(file: Path) -> None:
    """A user goes with every line of theirs, and no other line does; where there is none the exit code is 1."""
    file.write_text(BEFORE + "ann:again\neve:x\n")
    assert run("delete", file, "ann").returncode == 0
    assert file.read_text() == "# team\n\n  #end\neve:x\n"
    ran = run("delete", file, "ann")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"cargohold: {file} has no user ann\n")
    assert file.read_text() == "# team\n\n  #end\neve:x\n"


def test_verify(file: Path) -> None:
    """0 for the right password; 1, and the same words, for a wrong one, an unknown user and a hash of another kind."""
    file.write_text(f"ann:{bcrypt.hashpw(b's e', bcrypt.gensalt(4)).decode()}\nbob:s e\n")
    assert run("verify", file, "ann", password="s e").returncode == 0
    assert run("verify", file, "ann", password="s e\n").returncode == 0
    assert run("verify", file, "ann", password="s e\r\n").returncode == 0
    for user, password in [("ann", "s"), ("ann", ""), ("ann", "x" * 80), ("eve", "s e"), ("bob", "s e")]:
        ran = run("verify", file, user, password=password)
        assert (ran.returncode, ran.stdout) == (1, "")
        assert ran.stderr == "cargohold: the password is wrong, or there is no such user\n"


def test_list(file: Path) -> None:
    """Who can log in, a line each or as JSON; what is odd is told beside it, without any hash."""
    file.write_text(BEFORE + "bob:{SHA}xyzxyz\n")
    ran = run("list", file)
    assert (ran.returncode, ran.stdout) == (0, "ann\n")
    assert ran.stderr.startswith("cargohold: user 'bob' of line 5 cannot log in: ")
    assert "xyzxyz" not in ran.stderr
    as_json = run("list", file, "--json")
    assert (as_json.returncode, as_json.stdout, as_json.stderr) == (0, '["ann"]\n', ran.stderr)


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("", "the password is empty"),
        ("\n", "the password is empty"),
        ("x" * 73, "a password has at most 72 bytes in UTF-8, this one has 73"),
        ("a\0b", "a password holds no NUL"),
        ("a\nb\n", "standard input must hold the password alone, in one line"),
        ("x" * 5000, "standard input must hold the password alone, in one line"),
        (b"\xff\xfe", "the password is not UTF-8"),
    ],
)
def test_passwords_that_are_not_taken(file: Path, password: str | bytes, message: str) -> None:
    """A password that could not be used whole is refused with 2, and nothing is changed."""
    for arguments in (("add", file, "ann"), ("create", file.with_name("new"), "ann")):
        ran = run(*arguments, password=password)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert ran.stderr.endswith(f"Error: {message}\n")
    assert file.read_text() == BEFORE
    assert os.listdir(file.parent) == ["users"]


@pytest.mark.parametrize("name", ["", "a:b", "a\tb", "a\nb", " a", "#a", "x" * 256])
def test_names_that_are_not_taken(file: Path, name: str) -> None:
    """A name that would not be read back is refused with 2, by every command."""
    for command in ("add", "create", "delete", "verify"):
        password = None if command == "delete" else "x"
        ran = run(command, file, name, password=password)
        assert ran.returncode == 2
        assert "Invalid value for 'USER': " in ran.stderr
    assert file.read_text() == BEFORE


@pytest.mark.parametrize(
    "arguments",
    [["add"], ["add", "x"], ["add", "x", "ann", "--cost", "3"], ["add", "x", "ann", "--cost", "18"], ["put"]],
)
def test_misuse(arguments: list[str]) -> None:
    """What is not understood ends with 2."""
    assert run(*arguments).returncode == 2


def test_no_terminal(file: Path) -> None:
    """Where nobody can be asked, the way out is named."""
    ran = run("add", file, "ann")
    assert ran.returncode == 2
    assert "there is no terminal to ask for the password; use --stdin" in ran.stderr


@pytest.mark.parametrize("command", ["add", "delete", "verify", "list"])
def test_faulty_files(file: Path, command: str) -> None:
    """A file that is not there, or none of users, is named with its fault; it is not touched."""
    user = [] if command == "list" else ["ann"]
    password = "x" if command in ("add", "verify") else None
    file.write_text("ann:x\nbob\n")
    for path, message in [
        (file, f"{file}: line 2: it has no colon between a name and a hash"),
        (file.parent, f"{file.parent}: Is a directory"),
        (file.with_name("none"), f"{file}".replace("users", "none") + " is not there; make it with: "),
    ]:
        ran = run(command, path, *user, password=password)
        assert ran.returncode == 1
        assert ran.stderr.startswith(f"cargohold: {message}"), ran.stderr
    assert file.read_text() == "ann:x\nbob\n"


def test_no_folder(tmp_path: Path) -> None:
    """A folder that is not there is named."""
    ran = run("create", tmp_path / "none" / "users", "ann", password="x")
    assert (ran.returncode, ran.stderr) == (
        1,
        f"cargohold: {tmp_path}/none/users: No such file or directory\n",
    )


def test_the_password_is_asked_for_without_an_echo(file: Path) -> None:
    """On a terminal the password is asked for twice, and is never shown; two that differ are asked for again."""
    words = [SCRIPT, "htpasswd", "add", str(file), "eve", "--cost", "4"]
    child, terminal = pty.fork()
    if child == 0:
        os.execve(words[0], words, CLEAN)
    shown = b""

    def answer(prompt: bytes, typed: bytes) -> None:
        nonlocal shown
        start = len(shown)

        def prompted() -> bool:
            nonlocal shown
            shown += os.read(terminal, 1024)
            return prompt in shown[start:]

        until(prompted)
        os.write(terminal, typed)

    try:
        signal.alarm(int(WAIT_SECONDS))
        answer(b"Password: ", b"s3cret\n")
        answer(b"Repeat for confirmation: ", b"s3cert\n")
        answer(b"Password: ", b"s3cret\n")
        answer(b"Repeat for confirmation: ", b"s3cret\n")
        answer(b"user eve of ", b"")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        signal.alarm(0)
        os.close(terminal)
    assert b"s3c" not in shown
    assert opens(file, "eve", "s3cret")


def test_several_at_once(file: Path) -> None:
    """Of several who change the file at once none undoes what another did."""
    names = [f"user{number}" for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        ran = list(pool.map(lambda name: run("add", file, name, "--cost", "4", password=name), names))
    assert [each.returncode for each in ran] == [0] * 12
    assert sorted(parse(file.read_bytes()).entries) == sorted(["ann", *names])
    assert all(opens(file, name, name) for name in names)
    assert os.listdir(file.parent) == ["users"]


def test_a_reader_never_sees_half_of_it(file: Path) -> None:
    """Whoever reads the file while it is changed sees it as it was or as it is."""
    file.write_text(BEFORE + "".join(f"user{number}:x\n" for number in range(20_000)))
    process = subprocess.Popen(
        [SCRIPT, "htpasswd", "add", str(file), "ann", "--stdin", "--cost", "4"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=CLEAN,
    )
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(b"x")
    before, seen = file.read_text(), set[int]()

    def ended() -> bool:
        seen.add(file.read_text().count("\n"))
        return process.poll() is not None

    until(ended)
    assert process.returncode == 0
    assert seen == {before.count("\n")}
    assert file.read_text() != before


def test_a_lock_that_is_held(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the lock for too long is not waited for, and the file stays."""
    monkeypatch.setattr(rewriting, "LOCK_SECONDS", 0.2)
    held = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(TimeoutError, match="another program is changing it; try again"):
        rewriting.rewrite(str(file), lambda: b"")
    os.close(held)
    assert file.read_text() == BEFORE
    rewriting.rewrite(str(file), lambda: b"x")
    assert file.read_text() == "x"


def test_a_change_that_fails_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the new file cannot be written whole, the old one stays and nothing is left beside it."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        rewriting.rewrite(str(file), lambda: b"x")
    assert file.read_text() == BEFORE
    assert os.listdir(file.parent) == ["users"]


def test_what_a_killed_command_leaves(file: Path) -> None:
    """Whoever is killed before the new file is in its place changes nothing, and the next removes what was left."""
    code = (
        "import os, signal, sys; from cargohold.cli import rewriting;"
        "os.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "rewriting.rewrite(sys.argv[1], lambda: b'x')"
    )
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", code, str(file)], check=False, timeout=WAIT_SECONDS)
        assert killed.returncode == -signal.SIGKILL
        assert file.read_text() == BEFORE
        assert len(os.listdir(file.parent)) == 2
    assert run("add", file, "eve", "--cost", "4", password="x").returncode == 0
    assert os.listdir(file.parent) == ["users"]
    assert sorted(parse(file.read_bytes()).entries) == ["ann", "eve"]


def test_durable(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new content is synced before it is renamed into place, and the folder after it."""
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        calls.append(("sync", os.readlink(f"/proc/self/fd/{descriptor}").partition("users.")[0]))
        fsync(descriptor)

    def renamed(old: str, new: str) -> None:
        calls.append(("rename", new))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    rewriting.rewrite(str(file), lambda: b"x")
    assert calls == [("sync", f"{file.parent}/"), ("rename", str(file)), ("sync", str(file.parent))]
    assert file.read_text() == "x"


def test_help_needs_no_bcrypt() -> None:
    """What a command does not use is not imported for it."""
    code = "import cargohold.cli.main, sys; sys.exit('bcrypt' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=WAIT_SECONDS).returncode == 0
