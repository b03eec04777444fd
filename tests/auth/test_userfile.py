"""The file of users as it is written, by whichever program or hand."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cargohold.auth import userfile
from cargohold.auth.userfile import Entry, parse, read_file, read_lines, with_user, without_user
from cargohold.types.names import LONGEST_USER, check_user_name

if TYPE_CHECKING:
    from pathlib import Path

SALT = "abcdefghijklmnopqrstuO"
HASH = f"$2y$05${SALT}{'x' * 31}"
OTHER = f"$2b$07${SALT}{'y' * 31}"


def _is_name(name: str) -> bool:
    try:
        check_user_name(name)
    except ValueError:
        return False
    return True


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(_is_name)


@pytest.mark.parametrize("prefix", ["$2a$", "$2b$", "$2y$"])
def test_bcrypt_by_each_of_its_names(prefix: str) -> None:
    """Whoever has a hash of bcrypt can log in, by whichever of its three names."""
    text = prefix + HASH[4:]
    assert parse(f"ann:{text}\n".encode()).entries == {"ann": Entry(text.encode(), parse_stamp(text))}


def parse_stamp(text: str) -> str:
    return parse(f"x:{text}".encode()).entries["x"].stamp


@pytest.mark.parametrize(
    "content",
    [
        f"ann:{HASH}\nbob:{OTHER}\n",
        f"ann:{HASH}\nbob:{OTHER}",
        f"ann:{HASH}\r\nbob:{OTHER}\r\n",
        f"\ufeffann:{HASH}\nbob:{OTHER}\n",
        f"# those of the team\n\n   \nann:{HASH}\n#bob:{HASH}\nbob:{OTHER}\n\n",
        f"  ann:{HASH}\t\n\tbob:{OTHER}  \n",
        f"ann:{HASH}:Ann:of:the:team\nbob:{OTHER}:\n",
    ],
)
def test_forms_of_the_file(content: str) -> None:
    """Comments, blank lines, white space around, further fields, line ends and a byte order mark change nothing."""
    users = parse(content.encode())
    assert {name: entry.hash.decode() for name, entry in users.entries.items()} == {"ann": HASH, "bob": OTHER}
    assert users.oddities == ()
    assert users.cost == 7


def test_no_users() -> None:
    """An empty file is one without users, and checks cost what they do by default."""
    assert parse(b"") == parse(b"# none\n") == ({}, userfile.DEFAULT_COST, ())


def test_the_first_line_of_a_name_counts() -> None:
    """Of a name that stands twice the first line counts, also where it cannot be used, and the other is told."""
    users = parse(f"ann:{HASH}\nann:{OTHER}\nbob:plain\nbob:{OTHER}\n".encode())
    assert {name: entry.hash.decode() for name, entry in users.entries.items()} == {"ann": HASH}
    assert users.oddities == (
        "line 2 does not count: user 'ann' stands in line 1 already",
        "user 'bob' of line 3 cannot log in: the hash is not one of bcrypt; set the password anew",
        "line 4 does not count: user 'bob' stands in line 3 already",
    )
    assert users.cost == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "$apr1$qwertyui$0123456789abcdefghijk/",
        "$6$salt$abc",
        "$2x$05$" + HASH[7:],
        "$2$05$" + HASH[7:],
        HASH[:-1],
        HASH + "x",
        HASH.replace("$05$", "$5$"),
        HASH.replace("$05$", "$0a$"),
        HASH.replace("uOxx", "uPxx"),
        HASH.replace("xx", "x!", 1),
        HASH.replace("$05$", "$\u0660\u0665$"),
        "$2Y$" + HASH[4:],
    ],
)
def test_what_is_no_hash_of_bcrypt(text: str) -> None:
    """Whose hash is of another kind, or malformed, cannot log in; the word about it holds nothing of the hash."""
    users = parse(f"ann:{text}\nbob:{HASH}\n".encode())
    assert list(users.entries) == ["bob"]
    assert users.oddities == (
        "user 'ann' of line 1 cannot log in: the hash is not one of bcrypt; set the password anew",
    )


@pytest.mark.parametrize("cost", [0, 3, 18, 31, 99])
def test_costs_that_are_not_taken(cost: int) -> None:
    """A hash that would take minutes, or none at all, to check is not used, and does not make other checks longer."""
    users = parse(f"ann:$2y${cost:02}{HASH[6:]}\nbob:{HASH}\n".encode())
    assert (list(users.entries), users.cost) == (["bob"], 5)
    assert users.oddities == (
        f"user 'ann' of line 1 cannot log in: the cost of the hash is {cost}, not one of 4 to 17",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ann\n", "line 1: it has no colon between a name and a hash"),
        (b"# x\n\nann:x\n:x\n", "line 4: the name is empty"),
        (b"an\0n:x\n", "line 1: a name holds no control characters"),
        (b"ann\xc2\x85:x\n", "line 1: a name holds no control characters"),
        (b"ann :x\n", "line 1: a name begins with no #, and neither begins nor ends with white space"),
        (b"ann:x\nb\xf6b:x\n", "line 2: it is not UTF-8"),
        (b"\xff\xfea\0n\0", "line 1: it is not UTF-8"),
        (b"a" * 256 + b":x", "line 1: a name has at most 255 characters"),
    ],
)
def test_faulty_files(content: bytes, message: str) -> None:
    """A line that is none of a file of users makes the file faulty, and the message says which."""
    with pytest.raises(ValueError, match="^" + message):
        parse(content)


def test_stamps() -> None:
    """A stamp changes with the hash alone, and holds nothing of it."""
    assert parse_stamp(HASH) == parse_stamp(HASH)
    assert parse_stamp(HASH) != parse_stamp(OTHER)
    assert parse_stamp(HASH) not in HASH


@pytest.mark.parametrize(
    "name", ["a", "Ann Lee", "ann@example.com", "jürgen", "a#b", "a,b", "*", "x" * LONGEST_USER]
)
def test_names(name: str) -> None:
    """A name that a user may have is read back from its line."""
    check_user_name(name)
    assert [line.name for line in read_lines(with_user(b"", name, HASH))] == [name]


FILE = f"# team\nann:{HASH}\n\nbob:{HASH}:note\n#end\n".encode()


def test_a_user_is_added_at_the_end() -> None:
    """A new user's line is the last, and has its own line whether or not the file ended with one."""
    assert with_user(FILE, "eve", OTHER) == FILE + f"eve:{OTHER}\n".encode()
    assert with_user(FILE.rstrip(b"\n"), "eve", OTHER) == FILE + f"eve:{OTHER}\n".encode()
    assert with_user(b"", "eve", OTHER) == f"eve:{OTHER}\n".encode()


def test_a_password_is_changed_in_its_place() -> None:
    """A user's new hash stands where the old one stood; all else stays."""
    assert with_user(FILE, "ann", OTHER) == FILE.replace(f"ann:{HASH}".encode(), f"ann:{OTHER}".encode())


def test_all_lines_of_a_user_go() -> None:
    """Removing the line that counts must not bring a later one of the same name to life."""
    twice = FILE + f"ann:{OTHER}\n".encode()
    assert without_user(twice, "ann") == f"# team\n\nbob:{HASH}:note\n#end\n".encode()
    assert [line.name for line in read_lines(with_user(twice, "ann", OTHER))] == ["ann", "bob"]
    assert without_user(FILE, "eve") == FILE


def test_line_ends_and_mark_are_kept() -> None:
    """A file of Windows stays one."""
    content = f"\ufeffann:{HASH}\r\nbob:{HASH}\r\n".encode()
    assert with_user(content, "ann", OTHER) == f"\ufeffann:{OTHER}\r\nbob:{HASH}\r\n".encode()
    assert with_user(content, "eve", OTHER) == content + f"eve:{OTHER}\r\n".encode()
    assert without_user(content, "ann") == f"\ufeffbob:{HASH}\r\n".encode()


def test_a_faulty_file_is_not_edited() -> None:
    """What is no file of users is not made worse."""
    with pytest.raises(ValueError, match="line 1"):
        with_user(b"ann\n", "bob", HASH)
    with pytest.raises(ValueError, match="line 1"):
        without_user(b"ann\n", "bob")


@given(st.lists(st.tuples(names, st.sampled_from([HASH, OTHER]) | st.none()), max_size=12))
def test_edits_are_those_of_a_mapping(edits: list[tuple[str, str | None]]) -> None:
    """After any sequence of edits the file says what a mapping with the same edits does."""
    content, model = b"", dict[str, str]()
    for name, text in edits:
        if text is None:
            content = without_user(content, name)
            model.pop(name, None)
        else:
            content = with_user(content, name, text)
            model[name] = text
    users = parse(content)
    assert {name: entry.hash.decode() for name, entry in users.entries.items()} == model
    assert users.oddities == ()


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    """Whatever a file holds, it is either read or refused by a message that names the line."""
    try:
        said = ""
        parse(content)
    except ValueError as error:
        said = str(error)
    assert not said or said.startswith("line ")


def test_reading(tmp_path: Path) -> None:
    """The content comes with what the file was when it was read."""
    path = tmp_path / "users"
    path.write_bytes(b"x")
    content, found = read_file(str(path))
    assert (content, found.st_ino) == (b"x", path.stat().st_ino)


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe does not hold the reader up, a folder is none, and a file of more than 16 MiB is refused."""
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises((ValueError, IsADirectoryError), match=r"no regular file|Is a directory"):
            read_file(str(tmp_path / name))
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.truncate(userfile.MAX_BYTES)
    assert len(read_file(str(big))[0]) == 16 * 2**20
    with big.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="larger than 16 MiB"):
        read_file(str(big))
    with pytest.raises(FileNotFoundError):
        read_file(str(tmp_path / "none"))
