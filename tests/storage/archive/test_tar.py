"""Tars: what is written is read by others, what others write is read, and what means harm is refused."""

from __future__ import annotations

import io
import os
import random
import tarfile
import tempfile
from typing import TYPE_CHECKING

import pytest

from cargohold.storage.archive.reading import TarArchive, read_file
from cargohold.storage.archive.tar import END, ArchiveInvalid, header_of, inner_name, padding_of
from tests.storage.archive.tars import entry, opened, tar_of

if TYPE_CHECKING:
    from pathlib import Path

LONG = f"blobs/sha512/{'a' * 128}"
FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


@pytest.mark.parametrize("name", ["index.json", LONG])
@pytest.mark.parametrize("size", [0, 1, 512, 513])
def test_what_is_written_is_read_by_others(name: str, size: int) -> None:
    """A header, the bytes and their padding are a member to the standard library, whatever their length."""
    content = bytes(range(256)) * 3
    written = header_of(name, size) + content[:size] + padding_of(size) + END
    with tarfile.open(fileobj=io.BytesIO(written)) as archive:
        (member,) = archive.getmembers()
        file = archive.extractfile(member)
        assert file is not None
        assert (member.name, member.isreg(), file.read()) == (name, True, content[:size])


def test_large_sizes_are_written() -> None:
    """A file of more than 8 GiB, which has no room in an old header, has its size."""
    size = 9 << 30
    with tarfile.open(fileobj=io.BytesIO(header_of("big", size))) as archive:
        member = archive.next()
        assert member is not None
        assert (member.name, member.size) == ("big", size)


def test_the_same_file_is_the_same_bytes() -> None:
    """Nothing of the time, or of who writes, is in a header."""
    member = tarfile.TarInfo.frombuf(header_of("name", 5), "utf-8", "strict")
    assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_read(form: int, tmp_path: Path) -> None:
    """The forms of POSIX and GNU, with folders among the files, and names that begin with `./`."""
    files = {"./index.json": b"{}", "a/b": b"x" * 1000, "empty": b""}
    if form != tarfile.USTAR_FORMAT:
        files |= {LONG: b"long", "blätter": b"leaves"}
    members = [(entry("a", kind=tarfile.DIRTYPE), b"")]
    members += [(entry(name, content), content) for name, content in files.items()]
    archive = opened(tmp_path, tar_of(members, form))
    for name, content in files.items():
        assert read_file(archive, name.removeprefix("./"), 1000) == content
    assert archive.size("a") is None


@pytest.mark.parametrize("form", FORMS)
def test_links_within_are_other_names(form: int, tmp_path: Path) -> None:
    """A hard link names a file from the top, a symbolic one from its own folder; `docker save` writes the latter."""
    members = [
        (entry("one/layer.tar", b"layer"), b"layer"),
        (entry("two/layer.tar", kind=tarfile.SYMTYPE, target="../one/layer.tar"), b""),
        (entry("three", kind=tarfile.LNKTYPE, target="one/layer.tar"), b""),
        (entry("dangling", kind=tarfile.SYMTYPE, target="nothing"), b""),
    ]
    archive = opened(tmp_path, tar_of(members, form))
    for name in ("two/layer.tar", "three"):
        assert read_file(archive, name, 5) == b"layer"
    assert archive.size("dangling") is None


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../outside", "a/../../outside", "a/b/../../../x", ".", "./", "a/..", "a\0b", ""]
)
def test_names_that_lead_out(name: str) -> None:
    """A name that leads out of the archive, or to no file of it, is refused."""
    with pytest.raises(ArchiveInvalid):
        inner_name(name)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (entry("../outside", b"x"), "leads out"),
        (entry("/etc/passwd", b"x"), "leads out"),
        (entry("link", kind=tarfile.SYMTYPE, target="../../etc/passwd"), "leads out"),
        (entry("link", kind=tarfile.SYMTYPE, target="/etc/passwd"), "leads out"),
        (entry("link", kind=tarfile.LNKTYPE, target="/etc/passwd"), "leads out"),
        (entry("null", kind=tarfile.CHRTYPE), "device"),
        (entry("disk", kind=tarfile.BLKTYPE), "device"),
        (entry("pipe", kind=tarfile.FIFOTYPE), "device or a pipe"),
        (entry("odd", kind=b"Q"), "not known here"),
        (entry("sparse", kind=tarfile.GNUTYPE_SPARSE), "not known here"),
    ],
)
def test_members_that_mean_harm(member: tarfile.TarInfo, reason: str, tmp_path: Path) -> None:
    """Devices, and whatever leads out of the archive, are refused, with a name and a reason."""
    with pytest.raises(ArchiveInvalid, match=reason):
        opened(tmp_path, tar_of([(member, b"x" * member.size)]))


def test_links_to_links(tmp_path: Path) -> None:
    """Links that lead to each other end."""
    members = [
        (entry("a", kind=tarfile.SYMTYPE, target="b"), b""),
        (entry("b", kind=tarfile.SYMTYPE, target="a"), b""),
    ]
    archive = opened(tmp_path, tar_of(members))
    with pytest.raises(ArchiveInvalid, match="link to a link"):
        archive.size("a")


def test_a_name_that_is_there_twice(tmp_path: Path) -> None:
    """Readers would differ on which of the two counts: neither does."""
    with pytest.raises(ArchiveInvalid, match=r"'index\.json' twice"):
        opened(tmp_path, tar_of([(entry("index.json", b"a"), b"a"), (entry("./index.json", b"b"), b"b")]))


@pytest.mark.parametrize("content", [b"", b"\0" * 1024, b"\0" * 10])
def test_an_empty_tar(content: bytes, tmp_path: Path) -> None:
    """What holds nothing has no files, unless it is cut off."""
    if len(content) % 512:
        with pytest.raises(ArchiveInvalid):
            opened(tmp_path, content)
    else:
        assert opened(tmp_path, content).size("index.json") is None


def test_what_is_cut_off(tmp_path: Path) -> None:
    """Wherever a tar breaks off within a member, it is refused; between members it has only those before."""
    whole = tar_of({"a": b"x" * 700, LONG: b"y" * 10})
    for size in (100, 512, 600, 1535, 1536 + 100, 1536 + 512, 1536 + 1024 + 3):
        with pytest.raises(ArchiveInvalid, match=r"breaks off|no tar"):
            opened(tmp_path, whole[:size])
    assert opened(tmp_path, whole[:1536]).size("a") == 700


@pytest.mark.parametrize(
    ("begin", "program"), [(b"\x1f\x8b\x08\x00", "gunzip"), (b"\x28\xb5\x2f\xfd", "unzstd")]
)
def test_what_is_compressed(begin: bytes, program: str, tmp_path: Path) -> None:
    """It is told what to do."""
    with pytest.raises(ArchiveInvalid, match=program):
        opened(tmp_path, begin + bytes(600))


@pytest.mark.parametrize("text", [b"hello", b"{}", b"x" * 5000, b"PK\x03\x04" + bytes(2000)])
def test_what_is_no_tar(text: bytes, tmp_path: Path) -> None:
    """Other files are refused as such."""
    with pytest.raises(ArchiveInvalid, match=r"it is no tar|breaks off"):
        opened(tmp_path, text)


def _header(member: tarfile.TarInfo, **fields: bytes) -> bytes:
    """A header with a right checksum, of which these fields hold what no program writes."""
    places = {"size": (124, 136), "magic": (257, 265)}
    raw = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    for name, value in fields.items():
        start, stop = places[name]
        raw[start:stop] = value.ljust(stop - start, b"\0")
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw[:512])
    return bytes(raw)


@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("size", [b"\x80" + b"\0" * 3 + b"\x7f" * 8, b"77777777777", b"\xff" * 12, b"zzzz"])
def test_sizes_that_lie(kind: bytes, size: bytes, tmp_path: Path) -> None:
    """A size beyond the end, below zero, or no number at all, is refused, and takes no memory."""
    with pytest.raises(ArchiveInvalid):
        opened(tmp_path, _header(entry("x", kind=kind), size=size) + bytes(4096))


def test_long_extensions(tmp_path: Path) -> None:
    """A header of megabytes, though it is really there, is not read."""
    name = entry("././@LongLink", bytes(2 << 20), kind=b"L")
    with pytest.raises(ArchiveInvalid, match="longer than 65536"):
        opened(tmp_path, _header(name) + bytes((2 << 20) + 2048))


@pytest.mark.parametrize(
    "record",
    [
        b"12 path=x",
        b"99 path=abc\n",
        b"path=abc\n",
        b"0 a=b\n",
        b"-5 a=b\n",
        b"6 abc\n",
        b"11 size=-1\n",
        b"5 a=\n0 b=\n",
        b"5 a=\n2 b=\n",
        b"6 =\n\0\0",
    ],
)
def test_pax_headers_that_are_damaged(record: bytes, tmp_path: Path) -> None:
    """Records whose length is wrong, or whose value is none, are refused."""
    extended = entry("pax", record, kind=tarfile.XHDTYPE)
    content = tar_of([(extended, record), (entry("file", b"abc"), b"abc")])
    with pytest.raises(ArchiveInvalid):
        opened(tmp_path, content)


def test_pax_headers_of_many_records(tmp_path: Path) -> None:
    """Each byte is looked at once, and what is used comes after any number of records that are not."""
    record = b"5 a=\n" * 10_000 + b"13 path=name\n"
    members = [(entry("pax", record, kind=tarfile.XHDTYPE), record), (entry("file", b"abc"), b"abc")]
    assert opened(tmp_path, tar_of(members)).size("name") == 3


@pytest.mark.parametrize("kind", [b"x", b"X", b"L", b"K"])
def test_headers_of_headers(kind: bytes, tmp_path: Path) -> None:
    """More headers before a file than it can have are refused, before they fill the memory."""
    record = b"13 path=name\n"
    extended = (entry("pax", record, kind=kind), record)
    assert opened(tmp_path, tar_of([extended, (entry("file", b"abc"), b"abc")]))
    with pytest.raises(ArchiveInvalid, match="precede one file"):
        opened(tmp_path, tar_of([extended, extended, (entry("file", b"abc"), b"abc")]))


def test_headers_for_all_files(tmp_path: Path) -> None:
    """They say nothing that counts here, and are passed over however many there are."""
    record = b"13 path=name\n"
    extended = (entry("pax", record, kind=tarfile.XGLTYPE), record)
    assert opened(tmp_path, tar_of([extended, extended, (entry("file", b"abc"), b"abc")])).size("file") == 3


def test_sparse_files(tmp_path: Path) -> None:
    """Their bytes are not those of the file, and are not taken for them."""
    record = b"22 GNU.sparse.major=1\n"
    members = [(entry("pax", record, kind=tarfile.XHDTYPE), record), (entry("file", b"abc"), b"abc")]
    with pytest.raises(ArchiveInvalid, match="not known here"):
        opened(tmp_path, tar_of(members))


def test_sizes_in_pax_headers(tmp_path: Path) -> None:
    """The size of a pax header counts, and one that lies is refused."""
    for text, size in ((b"11 size=03\n", 3), (b"15 size=999999\n", None)):
        content = tar_of([(entry("pax", text, kind=tarfile.XHDTYPE), text), (entry("file", b"abc"), b"abc")])
        if size is None:
            with pytest.raises(ArchiveInvalid, match="breaks off"):
                opened(tmp_path, content)
        else:
            assert opened(tmp_path, content).size("file") == size


def test_damage_anywhere() -> None:
    """Whatever bytes are changed, a tar is read or refused, and nothing else comes of it."""
    whole = tar_of({"a": b"x" * 700, LONG: b"y" * 10, "b": b""}, tarfile.PAX_FORMAT)
    chance = random.Random(7)
    with tempfile.TemporaryFile() as file:
        for _ in range(400):
            damaged = bytearray(whole)
            for _ in range(chance.randrange(1, 8)):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            os.pwrite(file.fileno(), damaged, 0)
            try:
                archive = TarArchive(file.fileno())
            except ArchiveInvalid:
                continue
            assert archive.size("a") in {None, 700}
