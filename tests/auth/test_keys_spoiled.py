"""Signing keys that others may read, are damaged or gone: refused at the start, left out by a running server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from joserfc.jwk import ECKey

from cargohold.auth.keys import SigningKeys, _marks
from cargohold.storage.protocols import Conflict, Unavailable
from tests.auth.signing import NOW, files, prepared
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o622, 0o611])
def test_others_may_read(folder: Path, bits: int) -> None:
    """A private key that others may read is refused at the start, with what to do; a running server leaves it out."""
    keys = prepared(folder)
    (path,) = files(folder)
    path.chmod(bits)
    with pytest.raises(Conflict, match=rf"mode {bits:04o}.*chmod 600 {path}.*keys rotate --now"):
        SigningKeys(str(folder)).prepare(NOW)
    with pytest.raises(Conflict, match="chmod 600"):
        keys.rotate(NOW)
    late = SigningKeys(str(folder))
    with pytest.raises(Unavailable, match="no key to sign tokens with"):
        late.signing(NOW)
    assert late.verifying(path.stem, NOW) is None
    kid = late.rotate(NOW, at_once=True).kid
    assert SigningKeys(str(folder)).signing(NOW).kid == kid
    assert [each.name for each in files(folder)] == [f"{kid}.jwk"]


def test_others_may_write_the_folder(folder: Path) -> None:
    """A folder that others may write, and so put a key into, is refused."""
    prepared(folder)
    folder.chmod(0o720)
    with pytest.raises(Conflict, match=r"mode 0720.*chmod 700"):
        SigningKeys(str(folder)).prepare(NOW)
    assert SigningKeys(str(folder)).all(NOW) == []


@pytest.mark.parametrize("mode", [0o644, None])
def test_a_key_that_is_spoiled_while_it_is_used(folder: Path, mode: int | None) -> None:
    """A server that has long stood leaves out a key that others may read by now, or that is none any more."""
    keys = prepared(folder)
    (path,) = files(folder)
    keys._seen = _marks(str(folder))  # as after some seconds without a change
    if mode is not None:
        path.chmod(mode)
    else:
        path.write_bytes(b"?" * path.stat().st_size)
    keys._look()
    assert keys.verifying(path.stem, NOW) is None


def damage(change: Callable[[dict[str, object]], object]) -> Callable[[bytes], bytes]:
    def damaged(content: bytes) -> bytes:
        written = msgspec.json.decode(content)
        change(written)
        return msgspec.json.encode(written)

    return damaged


@pytest.mark.parametrize(
    "damaged",
    [
        lambda _content: b"",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda _content: b"[]",
        lambda _content: b"\xff\xfe",
        lambda content: b" " * 8192 + content,
        damage(lambda written: written.pop("d")),
        damage(lambda written: written.pop("since")),
        damage(lambda written: written.update(since="soon")),
        damage(lambda written: written.update(crv="P-384")),
        damage(lambda written: written.update(kty="oct")),
        damage(lambda written: written.update(d="!")),
        damage(lambda written: written.update(x=written["y"])),
        lambda _content: msgspec.json.encode(
            {**ECKey.generate_key("P-256").as_dict(private=True), "since": NOW}
        ),
        lambda _content: msgspec.json.encode(
            {**ECKey.generate_key("P-384").as_dict(private=True), "since": NOW}
        ),
    ],
)
def test_damaged(folder: Path, damaged: Callable[[bytes], bytes]) -> None:
    """A file that is no whole key of the name that it has is refused by its path, without a word of what is in it."""
    prepared(folder)
    (path,) = files(folder)
    content = path.read_bytes()
    path.write_bytes(damaged(content))
    with pytest.raises(Conflict) as raised:
        SigningKeys(str(folder)).prepare(NOW)
    assert str(raised.value) == f"{path} is no key of this registry, or is damaged: restore it or remove it"
    assert SigningKeys(str(folder)).all(NOW) == []


def test_a_bad_key_beside_a_good_one(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A running server goes on with the keys that are good, and says once in the log what is wrong with the other."""
    keys = prepared(folder)
    kid = keys.signing(NOW).kid
    (folder / "other.jwk").write_bytes(b"{}")
    (folder / "other.jwk").chmod(0o600)
    late = SigningKeys(str(folder))
    assert [key.kid for key in late.all(NOW)] == [kid]
    assert late.verifying("unknown", NOW) is None
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}/other.jwk is no key of this registry, or is damaged: restore it or remove it"
    ]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file(folder: Path, make: Callable[[str], None], caplog: pytest.LogCaptureFixture) -> None:
    """What has the name of a key and is no file is left out like any other garbage, and hinders no rotation."""
    kid = prepared(folder).signing(NOW).kid
    path = folder / "other.jwk"
    make(str(path))
    assert [key.kid for key in SigningKeys(str(folder)).all(NOW)] == [kid]
    message = f"{path} is no key of this registry, or is damaged: restore it or remove it"
    assert [record.getMessage() for record in caplog.records] == [message]
    with pytest.raises(Conflict, match=message):
        SigningKeys(str(folder)).prepare(NOW)
    new = SigningKeys(str(folder)).rotate(NOW, at_once=True).kid
    assert [key.kid for key in SigningKeys(str(folder)).all(NOW)] == [new]


def test_name_that_leads_nowhere(folder: Path) -> None:
    """A key that was removed between the listing of the folder and the look into it is none, nor is an endless link."""
    kid = prepared(folder).signing(NOW).kid
    (folder / "gone.jwk").symlink_to(folder / "absent")
    assert [key.kid for key in prepared(folder).all(NOW)] == [kid]
    (folder / "loop.jwk").symlink_to(folder / "loop.jwk")
    assert [key.kid for key in SigningKeys(str(folder)).all(NOW)] == [kid]


def test_key_of_another_user(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that cannot be opened is refused at the start; a running server leaves it out, and says so."""
    kid = prepared(folder).signing(NOW).kid
    other = SigningKeys(str(folder)).rotate(NOW).kid
    real = os.open

    def guarded(path: str, *arguments: int) -> int:
        if other in path:
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", guarded)
        assert [key.kid for key in SigningKeys(str(folder)).all(NOW)] == [kid]
        with pytest.raises(
            Conflict, match=rf"{other}.jwk cannot be read: Permission denied; give it to the user"
        ):
            prepared(folder)
    assert other in caplog.text


def test_keys_that_vanish(folder: Path) -> None:
    """Where the folder is removed under a running server, no token is accepted and none issued; a rotation mends it."""
    keys = prepared(folder)
    kid = keys.signing(NOW).kid
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    until(lambda: keys.verifying(kid, NOW) is None)
    with pytest.raises(Unavailable):
        keys.signing(NOW)
    new = SigningKeys(str(folder)).rotate(NOW).kid
    until(lambda: new in [key.kid for key in keys.all(NOW)])
    assert keys.signing(NOW).kid == new


def test_a_folder_that_cannot_be_read_now(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk takes no key away from a running server."""
    keys = prepared(folder)
    kid = keys.signing(NOW).kid

    def fail(_path: str) -> list[str]:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "listdir", fail)
        assert keys.verifying("unknown", NOW) is None
        assert keys.signing(NOW).kid == kid
        with pytest.raises(Unavailable, match="Input/output error"):
            SigningKeys(str(folder)).prepare(NOW)


def test_nowhere_to_write(tmp_path: Path) -> None:
    """Where the storage is not there, or no folder, the error names the place and the system's reason."""
    with pytest.raises(Unavailable, match=r"absent/cargohold/keys cannot be read or made: No such file"):
        SigningKeys(f"{tmp_path}/absent/cargohold/keys").prepare(NOW)
    assert os.listdir(tmp_path) == []
    (tmp_path / "cargohold").write_bytes(b"")
    with pytest.raises(Unavailable, match="Not a directory"):
        SigningKeys(f"{tmp_path}/cargohold/keys").rotate(NOW)
