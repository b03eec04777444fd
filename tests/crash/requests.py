"""The requests that change a registry, each on a repository of its own, and all that can be seen of that."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tests.e2e.pushing import (
    EMPTY,
    MANIFEST,
    digest_of,
    make_manifest,
    pull_blob,
    pull_digest,
    push_blob,
    put_manifest,
    start_upload,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.http.wire import Response, Wire

SETTINGS = {"manifests.allow_tag_deletion": True, "workers": 1}
SUBJECT = make_manifest("subject")
FIRST = make_manifest("first")
REFERRER = make_manifest("referrer", subject=SUBJECT)
TAGS = "one", "two", "new"

Seen = dict[str, str]
"""What can be seen, in words that do not depend on the place."""


@dataclass
class Place:
    """A repository with blobs, manifests, tags and an upload session; it has contents that no other has."""

    name: str
    known: bytes = field(default_factory=lambda: os.urandom(100))
    content: bytes = field(default_factory=lambda: os.urandom(600_000))
    session: str = ""

    @property
    def half(self) -> bytes:
        """What the session holds of the content."""
        return self.content[: len(self.content) // 2]

    @property
    def rest(self) -> bytes:
        return self.content[len(self.half) :]

    @property
    def where(self) -> str:
        """Where the rest belongs."""
        return f"Content-Range: {len(self.half)}-{len(self.content) - 1}"

    @property
    def own(self) -> bytes:
        return make_manifest(self.name)

    @property
    def other(self) -> str:
        """A repository that holds nothing yet."""
        return f"{self.name}/other"

    def prepare(self, wire: Wire) -> None:
        for blob in (EMPTY, self.known):
            push_blob(wire, self.name, blob)
        _stored(put_manifest(wire, self.name, digest_of(SUBJECT), SUBJECT))
        for tag in TAGS[:2]:
            _stored(put_manifest(wire, self.name, tag, FIRST))
        self.session = start_upload(wire, self.name)
        _stored(wire.ask("PATCH", self.session, body=self.half))

    def look(self, wire: Wire) -> Seen:
        blobs = {digest_of(getattr(self, each)): each for each in ("known", "half", "content")}
        manifests = {
            digest_of(content): each
            for each, content in (
                ("subject", SUBJECT),
                ("first", FIRST),
                ("referrer", REFERRER),
                ("own", self.own),
            )
        }
        seen = {}
        for name in (self.name, self.other):
            where = "other " if name == self.other else ""
            for digest, word in blobs.items():
                content = pull_blob(wire, name, digest)
                seen[f"{where}blob {word}"] = "none" if content is None else blobs[digest_of(content)]
            for reference, word in {**manifests, **{tag: f"tag {tag}" for tag in TAGS}}.items():
                found = pull_digest(wire, name, reference)
                seen[f"{where}manifest {word}"] = "none" if found is None else manifests[found]
        referrers = wire.ask("GET", f"/v2/{self.name}/referrers/{digest_of(SUBJECT)}")
        assert referrers.status == 200, referrers
        seen["referrers"] = str(digest_of(REFERRER).encode() in referrers.body)
        held = self.held(wire)
        seen["session"] = {None: "none", len(self.half): "half", len(self.content): "whole"}.get(held, "more")
        return seen

    def held(self, wire: Wire) -> int | None:
        """How many bytes the session holds, which were sent to it; None where there is none."""
        response = wire.ask("GET", self.session)
        if response.status == 404:
            return None
        assert response.status == 204, response
        held = int(response["range"].removeprefix("0-")) + 1
        assert len(self.half) <= held <= len(self.content)
        return held

    def finish(self, wire: Wire) -> None:
        """Go on with the session where there is one, or else push the content anew: it is a blob then."""
        held = self.held(wire)
        target = f"/v2/{self.name}/blobs/uploads/" if held is None else self.session
        digest = digest_of(self.content)
        method = "POST" if held is None else "PUT"
        _stored(wire.ask(method, f"{target}?digest={digest}", body=self.content[held or 0 :]))


def _stored(response: Response) -> None:
    assert response.status in {201, 202}, response


class Request(NamedTuple):
    """A request that changes something; `blob` is a blob after it that the session was to become."""

    method: str
    target: str
    body: bytes = b""
    header: str = "X-Nothing: more"
    blob: bytes | None = None

    def send(self, wire: Wire) -> Response:
        return wire.ask(self.method, self.target, self.header, body=self.body)

    def send_again(self, wire: Wire, name: str) -> None:
        """As a client does that was told to try again later, or whose request may have been carried out."""
        response = self.send(wire)
        if response.status == 404 and self.blob is not None:
            push_blob(wire, name, self.blob)
        else:
            allowed = {201, 202, 204} | ({404} if self.method == "DELETE" else set())
            # What was kept of a part is told by the session; it is not to be sent again.
            allowed |= {416} if "Range" in self.header else set()
            assert response.status in allowed, response


def _start(place: Place) -> Request:
    return Request("POST", f"/v2/{place.name}/blobs/uploads/")


def _start_by_sha512(place: Place) -> Request:
    return Request("POST", f"/v2/{place.name}/blobs/uploads/?digest-algorithm=sha512")


def _append(place: Place) -> Request:
    return Request("PATCH", place.session, place.rest, place.where)


def _end(place: Place) -> Request:
    return Request("PUT", f"{place.session}?digest={digest_of(place.half)}", blob=place.half)


def _append_and_end(place: Place) -> Request:
    digest = digest_of(place.content)
    return Request("PUT", f"{place.session}?digest={digest}", place.rest, place.where, place.content)


def _push(place: Place) -> Request:
    target = f"/v2/{place.name}/blobs/uploads/?digest={digest_of(place.content)}"
    return Request("POST", target, place.content)


def _push_known(place: Place) -> Request:
    target = f"/v2/{place.other}/blobs/uploads/?digest={digest_of(place.known)}"
    return Request("POST", target, place.known)


def _mount(place: Place) -> Request:
    target = f"/v2/{place.other}/blobs/uploads/?mount={digest_of(place.known)}&from={place.name}"
    return Request("POST", target)


def _cancel(place: Place) -> Request:
    return Request("DELETE", place.session)


def _delete_blob(place: Place) -> Request:
    return Request("DELETE", f"/v2/{place.name}/blobs/{digest_of(place.known)}")


def _put(place: Place, reference: str, content: bytes) -> Request:
    return Request("PUT", f"/v2/{place.name}/manifests/{reference}", content, f"Content-Type: {MANIFEST}")


def _push_manifest(place: Place) -> Request:
    return _put(place, digest_of(REFERRER), REFERRER)


def _push_manifest_by_tag(place: Place) -> Request:
    return _put(place, TAGS[2], place.own)


def _move_tag(place: Place) -> Request:
    return _put(place, TAGS[0], SUBJECT)


def _delete_manifest(place: Place) -> Request:
    return Request("DELETE", f"/v2/{place.name}/manifests/{digest_of(FIRST)}")


def _delete_tag(place: Place) -> Request:
    return Request("DELETE", f"/v2/{place.name}/manifests/{TAGS[1]}")


REQUESTS: dict[str, Callable[[Place], Request]] = {
    each.__name__.removeprefix("_"): each
    for each in (
        _start,
        _start_by_sha512,
        _append,
        _end,
        _append_and_end,
        _push,
        _push_known,
        _mount,
        _cancel,
        _delete_blob,
        _push_manifest,
        _push_manifest_by_tag,
        _move_tag,
        _delete_manifest,
        _delete_tag,
    )
}
