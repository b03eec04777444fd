"""Manifests: pull, push and delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.messages import Bytes, Empty
from cargohold.routes.headers import described, named, only_value
from cargohold.types.accept import Accept
from cargohold.types.conditions import none_match
from cargohold.types.errors import ManifestInvalid

if TYPE_CHECKING:
    from cargohold.messages import Answer, Headers, Request
    from cargohold.registry.manifests import Manifests
    from cargohold.routes.bodies import Bodies
    from cargohold.types.operations import DeleteManifest, PullManifest, PushManifest


class ManifestRoutes:
    """The endpoints of manifests; `prefix` stands before every path, `bodies` takes what is pushed."""

    def __init__(self, manifests: Manifests, bodies: Bodies, *, prefix: str) -> None:
        self._manifests = manifests
        self._bodies = bodies
        self._prefix = prefix

    async def pull(self, asked: PullManifest, request: Request) -> Answer:
        """200 with the bytes as they were pushed, 304 where the client has them.

        A HEAD tells somebody who pushes that there is no need to: clients ask without the login that they push with.
        """
        headers = request.headers
        find = self._manifests.check if request.method == "HEAD" else self._manifests.pull
        pulled = await find(asked.repository, asked.reference, Accept.parse(headers.get_all("accept")))
        digest, content = pulled.digest, pulled.content
        if not none_match(headers.get_all("if-none-match"), digest):
            return Empty(304, [*named(digest)])
        said = [*described(digest, pulled.media_type, len(content))]
        return Empty(200, said) if request.method == "HEAD" else Bytes(200, said, content)

    async def push(self, asked: PushManifest, request: Request) -> Answer:
        """201 with the digest."""
        content_type = only_value(request.headers, "content-type", ManifestInvalid)
        async with self._bodies.whole(request) as content:
            pushed = await self._manifests.push(
                asked.repository, asked.reference, asked.tags, content, content_type
            )
        headers: Headers = [
            ("location", f"{self._prefix}/v2/{asked.repository}/manifests/{pushed.digest}"),
            ("docker-content-digest", pushed.digest),
            ("content-length", "0"),
        ]
        if pushed.subject is not None:
            headers.append(("oci-subject", pushed.subject))
        if asked.tags:
            headers.append(("oci-tag", ", ".join(pushed.tags)))
        return Empty(201, headers)

    async def delete(self, asked: DeleteManifest, request: Request) -> Answer:
        """202: the manifest and its tags are gone."""
        await self._manifests.delete(asked.repository, asked.reference, request.identity.name)
        return Empty(202, [("content-length", "0")])
