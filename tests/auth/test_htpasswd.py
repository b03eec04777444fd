"""Users of a file that changes while the registry runs."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import bcrypt
import pytest

from cargohold.auth import htpasswd, userfile
from cargohold.auth.htpasswd import HtpasswdUsers
from cargohold.auth.identity import Scope
from cargohold.auth.protocols import Subject
from cargohold.types.errors import Unavailable
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cargohold.auth.identity import Authority
    from cargohold.auth.protocols import Proved

AUTHORITIES: dict[str, Authority] = {}


def authority_of(name: str) -> Authority:
    return AUTHORITIES.setdefault(name, Scope(()))


def line(name: str, password: str) -> str:
    return f"{name}:{bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()}\n"


@pytest.fixture(autouse=True)
def often(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks that are close together, but where their distance is the matter."""
    if request.function is not test_the_version_is_asked_for_nothing:
        monkeypatch.setattr(htpasswd, "LOOK_SECONDS", 0.05)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(line("ann", "secret"))
    age(path)
    return path


def age(path: Path, seconds: float = 60.0) -> None:
    """Have the file written to long ago, so that it is seen to stand."""
    then = time.time() - seconds
    os.utime(path, (then, then))


@contextmanager
def users_of(path: Path) -> Iterator[HtpasswdUsers]:
    users = HtpasswdUsers(str(path), authority_of)
    try:
        yield users
    finally:
        users.close()


def prove(users: HtpasswdUsers, name: str, password: str) -> Proved | None:
    return asyncio.run(users.prove(name, password))


def changed(users: HtpasswdUsers, version: int) -> None:
    """Wait until the users know of a change, asking as requests do."""
    until(lambda: users.version() != version)


def looked(users: HtpasswdUsers, times: int = 3) -> None:
    """Wait until the file was looked at so often."""
    for _ in range(times):
        before = users._look_at
        until(lambda before=before: users.version() is not None and users._look_at != before)  # type: ignore[misc]


def test_proving(file: Path) -> None:
    """The right password proves the user, who may do what their name may; nothing else proves anybody."""
    with users_of(file) as users:
        proved = prove(users, "ann", "secret")
        assert proved is not None
        assert (proved.subject.kind, proved.subject.name, proved.subject.key) == ("user", "ann", "ann")
        assert proved.authority is authority_of("ann")
        assert proved.until == float("inf")
        assert users.authority(proved.subject) is proved.authority
        for name, password in [
            ("ann", "Secret"),
            ("Ann", "secret"),
            ("eve", "secret"),
            ("", ""),
            ("ann", ""),
        ]:
            assert prove(users, name, password) is None


def test_subjects(file: Path) -> None:
    """Only a user who is in the file, with the hash that proved them, has an authority."""
    with users_of(file) as users:
        proved = prove(users, "ann", "secret")
        assert proved is not None
        stamp = proved.subject.stamp
        assert users.authority(Subject("user", "ann", key="ann", stamp=stamp)) is not None
        for subject in [
            Subject("user", "ann", key="ann", stamp=""),
            Subject("user", "ann", key="eve", stamp=stamp),
            Subject("robot", "ann", key="ann", stamp=stamp),
            Subject("anonymous"),
        ]:
            assert users.authority(subject) is None


def test_a_changed_password(file: Path) -> None:
    """Once a password is changed the old one is wrong, and whoever was proved by it is gone."""
    with users_of(file) as users:
        version, proved = users.version(), prove(users, "ann", "secret")
        assert proved is not None
        file.write_text(line("ann", "better") + line("bob", "secret"))
        age(file, 5)
        changed(users, version)
        assert users.authority(proved.subject) is None
        assert prove(users, "ann", "secret") is None
        assert prove(users, "ann", "better") is not None
        assert prove(users, "bob", "secret") is not None


def test_who_is_untouched_stays(file: Path) -> None:
    """A change to others leaves a user's subject as it was."""
    with users_of(file) as users:
        version, proved = users.version(), prove(users, "ann", "secret")
        assert proved is not None
        file.write_text(line("eve", "x") + file.read_text())
        age(file, 5)
        changed(users, version)
        assert users.authority(proved.subject) is proved.authority


def test_a_file_that_is_renamed_into_place(file: Path) -> None:
    """Another file in its place is seen, though it were of the same size and time."""
    with users_of(file) as users:
        version = users.version()
        then = file.stat()
        other = file.with_name("other")
        other.write_text(line("eve", "secret"))
        os.utime(other, ns=(then.st_atime_ns, then.st_mtime_ns))
        assert other.stat().st_size == then.st_size
        other.rename(file)
        changed(users, version)
        assert prove(users, "eve", "secret") is not None


def test_a_link_that_is_moved(file: Path) -> None:
    """A link to another file, as orchestrators swap mounted secrets, is followed."""
    link, other = file.with_name("link"), file.with_name("other")
    other.write_text(line("eve", "secret"))
    age(other)
    link.symlink_to(file)
    with users_of(link) as users:
        version = users.version()
        aside = file.with_name("aside")
        aside.symlink_to(other)
        aside.rename(link)
        changed(users, version)
        assert prove(users, "eve", "secret") is not None


def test_a_touched_file_is_no_change(file: Path) -> None:
    """The same content with another time changes nothing."""
    with users_of(file) as users:
        version = users.version()
        age(file, 30)
        looked(users)
        assert users.version() == version


def test_a_file_that_is_being_written_is_left_alone(file: Path) -> None:
    """A file that was written to a moment ago is not read: what is there may be half of it."""
    with users_of(file) as users:
        version = users.version()
        file.write_text("")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            os.utime(file)
            assert users.version() == version
            time.sleep(0.02)
        file.write_text(line("ann", "better"))
        changed(users, version)
        assert users.version() == version + 1
        assert prove(users, "ann", "better") is not None


def test_a_file_that_was_young_at_the_start(file: Path) -> None:
    """A file that was being written when the registry started is read again, though no mark of it should differ."""
    os.utime(file)
    with users_of(file) as users:
        version, then = users.version(), file.stat()
        content = file.read_bytes().replace(b"ann", b"eve")
        with file.open("r+b") as opened:
            opened.write(content)
        os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
        changed(users, version)
        assert prove(users, "eve", "secret") is not None


def test_a_time_of_the_future(file: Path) -> None:
    """A file whose time is ahead of the clock, as those of other machines may be, is read all the same."""
    with users_of(file) as users:
        version = users.version()
        file.write_text(line("ann", "better"))
        age(file, -3600)
        changed(users, version)
        assert prove(users, "ann", "better") is not None


@pytest.mark.parametrize("trouble", ["faulty", "gone", "folder", "big"])
def test_the_last_good_file_counts(
    file: Path, trouble: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the file is faulty, gone or not readable the users stay, the log says so once, and a good file is taken."""
    monkeypatch.setattr(userfile, "MAX_BYTES", 2**20)
    with users_of(file) as users, caplog.at_level(logging.WARNING):
        version = users.version()
        if trouble == "faulty":
            file.write_text("ann$2y$05$secretsecret\n")
        elif trouble == "big":
            file.write_bytes(b"#" * (2**20 + 1))
        else:
            file.unlink()
        if trouble == "folder":
            file.mkdir()
        if trouble != "gone":
            age(file)
        looked(users)
        assert users.version() == version
        assert prove(users, "ann", "secret") is not None
        (told,) = caplog.messages
        assert told.startswith(f"{file}: the users stay as they were: the file cannot be read: ")
        assert "secretsecret" not in told
        if trouble == "folder":
            file.rmdir()
        file.write_text(line("ann", "better"))
        age(file, 5)
        changed(users, version)
        assert prove(users, "ann", "better") is not None


def test_oddities_are_told_once(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who cannot log in is told when it is first seen, and not again with each change, nor a character of the hash."""
    file.write_text(file.read_text() + "bob:{SHA}c2VjcmV0\n")
    age(file)
    with caplog.at_level(logging.WARNING), users_of(file) as users:
        version = users.version()
        file.write_text(file.read_text() + line("eve", "x"))
        age(file, 5)
        changed(users, version)
        assert caplog.messages == [
            f"{file}: user 'bob' of line 2 cannot log in: the hash is not one of bcrypt; set the password anew"
        ]
        assert prove(users, "bob", "secret") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        (b"ann:x\nbob\n", "line 2: it has no colon between a name and a hash"),
        (b"\xff", "line 1: it is not UTF-8"),
    ],
)
def test_faulty_at_the_start(tmp_path: Path, content: bytes | None, message: str) -> None:
    """Without a good file there is no start, and the message says which file and why."""
    path = tmp_path / "users"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"^cannot read the users of {path}: {message}$"):
        HtpasswdUsers(str(path), authority_of)


def watched(note: Callable[[], None]) -> Callable[[str], tuple[bytes, os.stat_result]]:
    """As `read_file`, noted each time."""

    def read(path: str) -> tuple[bytes, os.stat_result]:
        note()
        return userfile.read_file(path)

    return read


def test_a_faulty_file_is_read_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be taken is not read again until it has changed."""
    reads: list[str] = []
    with users_of(file) as users:
        monkeypatch.setattr(htpasswd, "read_file", watched(lambda: reads.append(str(file))))
        file.write_text("ann without a colon\n")
        age(file)
        looked(users, 4)
        assert reads == [str(file)]
        version = users.version()
        file.write_text(line("bob", "x"))
        age(file, 50)
        changed(users, version)
        assert prove(users, "bob", "x") is not None


def test_a_large_file_is_read_beside_the_loop(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would take long is read in a thread of its own, and counts when it has been."""
    names: list[str] = []
    monkeypatch.setattr(htpasswd, "SMALL_BYTES", 10)
    with users_of(file) as users:
        monkeypatch.setattr(
            htpasswd, "read_file", watched(lambda: names.append(threading.current_thread().name))
        )
        version = users.version()
        file.write_text(line("bob", "x"))
        age(file, 50)
        changed(users, version)
        assert prove(users, "bob", "x") is not None
        assert {name.partition("_")[0] for name in names} == {"htpasswd"}


def test_faulty_when_a_later_worker_starts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that follows another starts with a faulty file, knows nobody, says so, and takes a good file."""
    path = tmp_path / "users"
    users = HtpasswdUsers(str(path), authority_of, later=True)
    try:
        assert "nobody can log in until the file can be read: No such file or directory" in caplog.text
        version = users.version()
        for _ in range(2):
            with pytest.raises(Unavailable):
                prove(users, "ann", "secret")
            with pytest.raises(Unavailable):
                users.authority(Subject("user", "ann", "ann"))
        assert users.authority(Subject("robot", "ci", "1")) is None
        path.write_text(line("ann", "secret"))
        age(path)
        changed(users, version)
        assert prove(users, "ann", "secret") is not None
    finally:
        users.close()


def test_a_user_removed_while_nobody_asked(file: Path) -> None:
    """After a quiet time the very first request knows of the change, whatever it asks."""
    with users_of(file) as first, users_of(file) as second, users_of(file) as third:
        proved = prove(first, "ann", "secret")
        assert proved is not None
        version = second.version()
        file.write_text(line("bob", "x"))
        age(file, 2)
        time.sleep(2 * htpasswd.LOOK_SECONDS)
        assert first.authority(proved.subject) is None
        assert second.version() != version
        assert prove(third, "ann", "secret") is None


def test_a_user_removed_while_the_password_is_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is removed between the question and the answer is not proved."""
    with users_of(file) as users:

        async def slow(*_: object) -> bool:
            users._take(b"")
            return True

        monkeypatch.setattr(users._checks, "right", slow)
        assert prove(users, "ann", "secret") is None


def test_the_version_is_asked_for_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is looked at once a second at most, however often the version is asked for."""
    stat, looks = os.stat, list[str]()
    with users_of(file) as users:

        def counted(path: str) -> os.stat_result:
            looks.append(path)
            return stat(path)

        monkeypatch.setattr(os, "stat", counted)
        start = time.monotonic()
        while time.monotonic() < start + 2.5:
            users.version()
        elapsed = time.monotonic() - start
        monkeypatch.undo()
    assert 1 <= looks.count(str(file)) <= elapsed + 1
