"""The keys that tokens are signed with: on disk, shared by processes, rotated."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, KeySet

from cargohold.auth.keys import LONGEST_TOKEN_SECONDS, PUBLISH_SECONDS, SigningKeys, _marks
from cargohold.config.kinds import Misfit
from cargohold.config.settings import SETTINGS
from cargohold.storage.protocols import Conflict, Unavailable
from tests.http.serving import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cargohold").mkdir()
    return tmp_path / "cargohold" / "keys"


def prepared(folder: Path, now: float = NOW) -> SigningKeys:
    keys = SigningKeys(str(folder))
    keys.prepare(now)
    return keys


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jwk"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_first_start(folder: Path) -> None:
    """The first start makes one key, for P-256, that signs at once; nobody else may read it or look into its folder."""
    before = os.umask(0)
    try:
        keys = prepared(folder)
    finally:
        os.umask(before)
    key = keys.signing(NOW)
    assert (key.since, key.until) == (NOW, None)
    assert key.key.curve_name == "P-256"
    assert [path.name for path in files(folder)] == [f"{key.kid}.jwk"]
    assert (mode(folder), mode(files(folder)[0])) == (0o700, 0o600)
    assert sorted(os.listdir(folder)) == sorted([f"{key.kid}.jwk", "lock"])


def test_later_starts(folder: Path) -> None:
    """Later starts use the keys that are there, and write nothing."""
    key = prepared(folder).signing(NOW)
    before = {path: path.stat() for path in (folder, *folder.iterdir())}
    again = prepared(folder, NOW + 1000).signing(NOW + 1000)
    assert (again.kid, again.key.as_dict(private=True)) == (key.kid, key.key.as_dict(private=True))
    assert {path: path.stat() for path in (folder, *folder.iterdir())} == before


def test_no_other_kid(folder: Path) -> None:
    """A key is found by its own thumbprint (RFC 7638) alone."""
    keys = prepared(folder)
    kid = keys.signing(NOW).kid
    found = keys.verifying(kid, NOW)
    assert found is not None
    assert found.thumbprint() == kid
    for other in ("", "lock", kid[:-1], f"{kid}.jwk", f"../keys/{kid}", kid.swapcase(), "\0"):
        assert keys.verifying(other, NOW) is None


def test_rotation(folder: Path) -> None:
    """A new key is published at once and signs a minute later; the old one is accepted for a day from then on."""
    keys = prepared(folder)
    old = keys.signing(NOW).kid
    new = keys.rotate(NOW + 100).kid
    begins = NOW + 100 + PUBLISH_SECONDS
    ends = begins + LONGEST_TOKEN_SECONDS

    def kids(now: float) -> list[str]:
        published = [str(key["kid"]) for key in keys.published(now)["keys"]]
        assert published == [key.kid for key in keys.all(now)]
        assert [kid for kid in (old, new) if keys.verifying(kid, now) is not None] == published
        return published

    assert kids(NOW + 100) == [old, new]
    assert keys.signing(begins - 0.001).kid == old
    assert keys.signing(begins).kid == new
    assert kids(ends - 0.001) == [old, new]
    assert kids(ends) == [new]
    assert keys.signing(ends).kid == new


def test_rotation_removes_what_is_over(folder: Path) -> None:
    """A rotation removes the files of keys that are accepted no longer, and of no others."""
    keys = prepared(folder)
    first = keys.signing(NOW).kid
    second = keys.rotate(NOW).kid
    later = NOW + PUBLISH_SECONDS + LONGEST_TOKEN_SECONDS
    third = keys.rotate(later - 1).kid
    assert {path.stem for path in files(folder)} == {first, second, third}
    fourth = keys.rotate(later).kid
    assert {path.stem for path in files(folder)} == {second, third, fourth}


def test_rotation_at_once(folder: Path) -> None:
    """For a key that others may know: a new one signs now, and no other is accepted or kept."""
    keys, other = prepared(folder), prepared(folder)
    old = [keys.signing(NOW).kid, keys.rotate(NOW).kid]
    new = keys.rotate(NOW + 1, at_once=True)
    assert new.since == NOW + 1
    assert [path.stem for path in files(folder)] == [new.kid]
    until(lambda: [key.kid for key in other.all(NOW + 1)] == [new.kid])
    for each in (keys, other):
        assert each.signing(NOW + 1).kid == new.kid
        assert [each.verifying(kid, NOW + 1) for kid in old] == [None, None]


def test_rotation_of_nothing(folder: Path) -> None:
    """A rotation before the first start makes a key that signs for want of another, though its time has not come."""
    keys = SigningKeys(str(folder))
    kid = keys.rotate(NOW).kid
    assert keys.signing(NOW).kid == kid


def test_clock_set_back(folder: Path) -> None:
    """Where the clock was set back to before all keys, the oldest signs."""
    keys = prepared(folder)
    first = keys.signing(NOW).kid
    keys.rotate(NOW)
    assert keys.signing(NOW - 5000).kid == first


def test_noticed_by_others(folder: Path) -> None:
    """Another process's new key is accepted at once, and changes the version within a second; nothing else does."""
    keys, other = prepared(folder), prepared(folder)
    before = other.version()
    kid = keys.rotate(NOW, at_once=True).kid
    assert other.verifying(kid, NOW) is not None
    until(lambda: other.version() != before)
    after = other.version()
    time.sleep(1.2)
    assert (other.version(), other.signing(NOW).kid) == (after, kid)


def test_changes_within_a_step_of_the_clock(folder: Path) -> None:
    """A change is noticed though the folder's time does not tell it from the one before."""
    keys, other = prepared(folder), prepared(folder)
    other.all(NOW)
    moment = folder.stat().st_mtime_ns
    kid = keys.rotate(NOW).kid
    os.utime(folder, ns=(moment, moment))
    until(lambda: kid in [key.kid for key in other.all(NOW)])


def test_public(folder: Path) -> None:
    """The JWK set holds what verifies a signature (RFC 7517), and nothing that could make one."""
    keys = prepared(folder)
    key = keys.signing(NOW)
    (published,) = keys.published(NOW)["keys"]
    assert published.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert (published["kid"], published["use"], published["alg"]) == (key.kid, "sig", "ES256")
    signed = jws.serialize_compact({"alg": "ES256", "kid": key.kid}, b"payload", key.key)
    read = KeySet.import_key_set(msgspec.json.decode(msgspec.json.encode(keys.published(NOW))))
    assert jws.deserialize_compact(signed, read).payload == b"payload"


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


def test_others_may_write_the_folder(folder: Path) -> None:
    """A folder that others may write, and so put a key into, is refused."""
    prepared(folder)
    folder.chmod(0o720)
    with pytest.raises(Conflict, match=r"mode 0720.*chmod 700"):
        SigningKeys(str(folder)).prepare(NOW)
    assert SigningKeys(str(folder)).all(NOW) == []


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


def test_what_a_killed_command_left(folder: Path) -> None:
    """What was being written when a command was killed is no key, and the next one removes it."""
    keys = prepared(folder)
    (folder / "new-0123").write_bytes(files(folder)[0].read_bytes())
    assert len(SigningKeys(str(folder)).all(NOW)) == 1
    keys.rotate(NOW)
    assert not (folder / "new-0123").exists()


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


def test_name_that_leads_nowhere(folder: Path) -> None:
    """A key that was removed between the listing of the folder and the look into it is none, nor is an endless link."""
    kid = prepared(folder).signing(NOW).kid
    (folder / "gone.jwk").symlink_to(folder / "absent")
    assert [key.kid for key in prepared(folder).all(NOW)] == [kid]
    (folder / "loop.jwk").symlink_to(folder / "loop.jwk")
    assert [key.kid for key in SigningKeys(str(folder)).all(NOW)] == [kid]


def test_no_token_outlives_its_key() -> None:
    """The setting for the life of tokens allows no longer life than that for which a key is accepted."""
    lifetime = SETTINGS["auth.token.lifetime"].kind
    assert lifetime.read("24h") == LONGEST_TOKEN_SECONDS
    with pytest.raises(Misfit):
        lifetime.read(LONGEST_TOKEN_SECONDS + 1)


def test_not_on_each_call(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is looked at no more than once a second, as long as only known keys are asked for."""
    keys = prepared(folder)
    kid = keys.signing(NOW).kid
    looked, real = 0, os.stat

    def counting(path: str, **options: bool) -> os.stat_result:
        nonlocal looked
        looked += path == str(folder)
        return real(path, **options)

    monkeypatch.setattr(os, "stat", counting)
    started = time.monotonic()
    for _ in range(1000):
        assert (keys.version(), keys.verifying(kid, NOW) is None) == (1, False)
    assert looked <= 2 * (1 + time.monotonic() - started)
