"""Who was let in before with the very same headers, so that the next request of a pull need not be read again."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

if TYPE_CHECKING:
    from cargohold.auth.identity import Identity
    from cargohold.auth.login import Shown, Versions
    from cargohold.messages import RequestHeaders
    from cargohold.types.operations import Operation


class Admission(NamedTuple):
    """From which address, with what, to do what, and as whom; `versions` are those that it hangs on."""

    client: str
    shown: Shown
    operation: Operation
    identity: Identity
    versions: Versions


class Admissions:
    """The last admission for each object that holds headers, for as long as that is there.

    Our own server gives the headers of heads that are alike as one object. What is remembered is no more than was found
    out of them: that it still holds is for whoever asks to find out. Nothing of the headers is kept here.
    """

    def __init__(self) -> None:
        self._last: dict[int, tuple[ref[RequestHeaders], Admission]] = {}

    def __len__(self) -> int:
        return len(self._last)

    def of(self, headers: RequestHeaders, client: str) -> Admission | None:
        """The last with these headers, if it was from this address."""
        last = self._last.get(id(headers))
        return last[1] if last is not None and last[1].client == client and last[0]() is headers else None

    def note(self, headers: RequestHeaders, admission: Admission) -> None:
        """Remember it in the place of the one before. Not of headers that cannot be referred to."""
        number = id(headers)
        try:
            reference = ref(headers, partial(self._forget, number))
        except TypeError:
            return
        self._last[number] = reference, admission

    def _forget(self, number: int, reference: ref[RequestHeaders]) -> None:
        last = self._last.get(number)
        # Another object may have the number by now.
        if last is not None and last[0] is reference:
            del self._last[number]
