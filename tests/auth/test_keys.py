"""The keys that tokens are signed with: on disk, shared by processes, rotated."""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import KeySet

from cargohold.auth.keys import LONGEST_TOKEN_SECONDS, PUBLISH_SECONDS, SigningKeys
from cargohold.config.kinds import Misfit
from cargohold.config.settings import SETTINGS
from tests.auth.signing import NOW, files, prepared
from tests.http.serving import until

if TYPE_CHECKING:
    from pathlib import Path


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


def test_what_a_killed_command_left(folder: Path) -> None:
    """What was being written when a command was killed is no key, and the next one removes it."""
    keys = prepared(folder)
    (folder / "new-0123").write_bytes(files(folder)[0].read_bytes())
    assert len(SigningKeys(str(folder)).all(NOW)) == 1
    keys.rotate(NOW)
    assert not (folder / "new-0123").exists()


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
