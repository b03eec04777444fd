"""Logins that held are remembered, for as long as nothing has changed."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from cargohold.auth.protocols import Subject, Unproved
from cargohold.types.errors import TooManyRequests
from tests.auth.sources import FOREVER, HERE, Counted, Issued, Known, basic, identify, login_of, remembered

if TYPE_CHECKING:
    from cargohold.auth.identity import Identity


def test_remembered() -> None:
    """A login that held is known without asking again, by header and by name and password alike."""
    users = Known({"ann": "secret"})
    login, header = login_of([users]), basic("ann", "secret")
    assert remembered(login, header) is None
    first = identify(login, header)
    assert remembered(login, header) is first
    assert identify(login, header) is first
    assert identify(login, basic("ann", "secret", "basic")) is first
    assert asyncio.run(login.prove("ann", "secret", HERE)).subject.name == "ann"
    assert users.asked == ["ann"]


def test_a_wrong_password_is_one_guess_however_often_it_is_told() -> None:
    """What failed is not asked about or counted again for a while; once anything has changed, it is."""
    users, attempts = Known({"ann": "secret"}), Counted()
    login, header = login_of([users], attempts=attempts), basic("ann", "better")
    for _ in range(3):
        with pytest.raises(Unproved):
            identify(login, header)
    assert (users.asked, len(attempts.failures)) == (["ann"], 1)
    users.change(ann="better")
    assert identify(login, header).name == "ann"
    assert users.asked == ["ann"] * 2


def test_a_password_is_remembered_for_its_address_alone() -> None:
    """From another address a login is looked at anew; a token, which nobody guesses, is known from everywhere."""
    users = Known({"ann": "secret"})
    login, header = login_of([users], [Issued({"t": FOREVER})]), basic("ann", "secret")
    for client in (HERE, "2001:db8::1", ""):
        assert remembered(login, header, client) is None
        identify(login, header, client)
        assert remembered(login, header, client) is not None
    assert users.asked == ["ann"] * 3
    identify(login, "Bearer t")
    assert remembered(login, "Bearer t", "2001:db8::1") is not None


def test_who_is_refused_does_not_go_on_guessing_who_is_remembered() -> None:
    """An address that is refused for a name is told of no password that it is right, though it was remembered.

    So it is for whoever else is behind that address, until it is refused no longer; other names and addresses stay.
    """
    users, attempts = Known({"ann": "secret", "bob": "x"}), Counted()
    login, right = login_of([users], attempts=attempts), basic("ann", "secret")
    for client in (HERE, "2001:db8::1"):
        identify(login, right, client)
    identify(login, basic("bob", "x"))
    attempts.most = 0
    with pytest.raises(TooManyRequests):
        identify(login, basic("ann", "wrong"))
    assert remembered(login, right) is None
    with pytest.raises(TooManyRequests):
        identify(login, right)
    assert remembered(login, right, "2001:db8::1") is not None
    assert remembered(login, basic("bob", "x")) is not None
    attempts.most = 1000
    assert identify(login, right).name == "ann"
    assert remembered(login, right) is not None


def test_what_proves_a_password_remembers_it() -> None:
    """A login by name and password is known by its header too."""
    login = login_of([Known({"ann": "secret"})])
    proved = asyncio.run(login.prove("ann", "secret", HERE))
    assert proved.subject == Subject("user", "ann", key="ann", stamp="secret")
    identity = remembered(login, basic("ann", "secret"))
    assert identity is not None
    assert identity.authority is proved.authority


def test_names_and_passwords_are_not_run_together() -> None:
    """A name with a colon is none, so that no part of a password can be taken for a name."""
    login = login_of([Known({"ann": "b:c", "ann:b": "c"})])
    asyncio.run(login.prove("ann", "b:c", ""))
    with pytest.raises(Unproved):
        asyncio.run(login.prove("ann:b", "c", ""))


def test_not_remembered_where_told_so() -> None:
    """Remembering for no time asks each time."""
    users = Known({"ann": "secret"})
    login, header = login_of([users], remember=0), basic("ann", "secret")
    for _ in range(3):
        assert identify(login, header).name == "ann"
        assert remembered(login, header) is None
    assert users.asked == ["ann"] * 3


def test_not_remembered_beyond_its_end() -> None:
    """What ends, such as a robot or an id token, is not remembered any longer than it holds."""
    users = Known({"ann": "secret"}, until=time.time() - 1)
    login, header = login_of([users]), basic("ann", "secret")
    identify(login, header)
    assert remembered(login, header) is None


def test_a_change_forgets_whom_it_concerns() -> None:
    """After a change of their source a user who is gone, or has another password, is asked again.

    It is at the next request. One who stands as before is not asked, and may do what they may now.
    """
    users = Known({"ann": "secret", "bob": "x", "eve": "y"})
    login = login_of([users])
    headers = {name: basic(name, password) for name, password in users.users.items()}
    before = {name: identify(login, header) for name, header in headers.items()}
    users.asked.clear()
    users.change(ann="secret", bob="other")
    assert remembered(login, headers["bob"]) is None
    assert remembered(login, headers["eve"]) is None
    again = remembered(login, headers["ann"])
    assert again is not None
    assert again.name == "ann"
    assert again.authority is not before["ann"].authority
    assert remembered(login, headers["ann"]) is again
    assert users.asked == []
    for name in ("bob", "eve"):
        with pytest.raises(Unproved):
            identify(login, headers[name])
    users.change(ann="secret", bob="x", eve="y")
    assert remembered(login, headers["bob"]) is None
    assert identify(login, headers["bob"]).name == "bob"


def test_a_change_does_not_make_a_login_last() -> None:
    """A login ends when it would have ended, however often its source changes."""
    users = Known({"ann": "secret"})
    login, header = login_of([users], remember=0.2), basic("ann", "secret")
    identify(login, header)
    end = time.monotonic() + 5
    while remembered(login, header) is not None:
        users.change(ann="secret")
        assert time.monotonic() < end


def test_a_change_of_another_source_is_none() -> None:
    """What one source knows does not hang on another."""
    users, others = Known({"ann": "secret"}), Known({})
    login, header = login_of([others, users]), basic("ann", "secret")
    identity = identify(login, header)
    others.change(bob="x")
    assert remembered(login, header) is identity


def test_a_change_while_it_is_proved() -> None:
    """A login that was begun before a change is held against the change before it is believed again."""
    users = Known({"ann": "secret"})
    login, header = login_of([users]), basic("ann", "secret")

    async def ask() -> Identity:
        users.wait = asyncio.Event()
        asked = asyncio.ensure_future(login.identify(header, HERE))
        await asyncio.sleep(0)
        users.changes += 1
        users.wait.set()
        identity = await asked
        users.users = {}
        return identity

    assert asyncio.run(ask()).name == "ann"
    assert remembered(login, header) is None
