"""What there is to know about an image: gathered from its manifest, and from what that names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from cargohold.cli.progress import progress
from cargohold.cli.refusal import Refused
from cargohold.cli.remote.documents import (
    IMAGE_CONFIGS,
    IMAGE_MANIFESTS,
    Descriptor,
    Document,
    ImageConfig,
    Layers,
    read,
)
from cargohold.cli.remote.exchange import AT_ONCE, RegistryRefused, at_once
from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cargohold.cli.remote.documents import Layer
    from cargohold.cli.remote.session import Found, Session

_MOST = 1000
_MOST_BYTES = 64 << 20
_PAGE_BYTES = 64 << 10
_NOT_FOUND = 404
_NO_REFERRERS = frozenset({400, 404, 405, 501})


class Part(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest of an index. `size` is that of its layers in bytes; None where it has none, or is not there."""

    digest: str
    media_type: str
    platform: str | None
    size: int | None
    annotations: dict[str, str]


class Run(msgspec.Struct, frozen=True, rename="camel"):
    """What an image's config says."""

    created: str | None
    platform: str
    user: str | None
    entrypoint: list[str]
    cmd: list[str]
    working_dir: str | None
    exposed_ports: list[str]
    labels: dict[str, str]


class Inspection(msgspec.Struct, frozen=True, rename="camel"):
    """What is printed. `size` is that of the layers in bytes; of an index, each layer of its parts counts once.

    `more_referrers` says that not all of them are here.
    """

    image: str
    digest: str
    media_type: str
    artifact_type: str | None
    size: int
    layers: list[Descriptor]
    manifests: list[Part]
    config: Run | None
    subject: str | None
    annotations: dict[str, str]
    referrers: list[Descriptor]
    more_referrers: bool


def inspect_manifest(
    session: Session, image: str, repository: str, found: Found, *, quiet: bool
) -> Inspection:
    """Ask for all that the manifest names, but for its layers. Raises Refused."""
    document = read(Document, found.content, image)
    layers = document.layers or []
    parts, sizes_of_parts = _parts(session, repository, document.manifests or [], quiet=quiet)
    referrers, more = _referrers(session, repository, found.digest)
    return Inspection(
        image=image,
        digest=str(found.digest),
        media_type=found.media_type or document.media_type or "",
        artifact_type=document.artifact_type,
        size=sum({**_sizes(layers), **sizes_of_parts}.values()),
        layers=layers,
        manifests=parts,
        config=_config(session, repository, document),
        subject=document.subject.digest if document.subject else None,
        annotations=_texts(document.annotations),
        referrers=referrers,
        more_referrers=more,
    )


def _parts(
    session: Session, repository: str, children: list[Descriptor], *, quiet: bool
) -> tuple[list[Part], dict[str, int]]:
    """The manifests of an index, and the sizes of all their layers. Raises Refused where they would fill the memory."""
    if len(children) > _MOST:
        raise Refused(
            f"the index names {len(children)} manifests, more than {_MOST} are not looked into; see it with --raw"
        )

    def content_of(child: Descriptor) -> bytes | None:
        if child.media_type not in IMAGE_MANIFESTS:
            return None
        try:
            return session.manifest(repository, _digest(child)).content
        except RegistryRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    parts: list[Part] = []
    sizes: dict[str, int] = {}
    room = _MOST_BYTES
    with (
        at_once() as threads,
        progress("manifests", len(children), quiet=quiet) as advance,
    ):
        for start in range(0, len(children), AT_ONCE):
            batch = children[start : start + AT_ONCE]
            for child, content in zip(batch, threads.map(content_of, batch), strict=True):
                room -= len(content or b"")
                if room < 0:
                    raise Refused(
                        f"the manifests of the index have more than {_MOST_BYTES >> 20} MiB; see it with --raw"
                    )
                own = {} if content is None else _sizes(read(Layers, content, child.digest).layers or [])
                size = None if content is None else sum(own.values())
                platform = str(child.platform) if child.platform else None
                parts.append(Part(child.digest, child.media_type, platform, size, _texts(child.annotations)))
                sizes |= own
                advance(1)
    return parts, sizes


def _sizes(layers: Iterable[Descriptor | Layer]) -> dict[str, int]:
    """By their digests, as a layer counts once."""
    return {layer.digest: layer.size for layer in layers}


def _texts(mapping: Mapping[str, str | None] | None) -> dict[str, str]:
    """Without the null that some write for what is empty."""
    return {name: value or "" for name, value in (mapping or {}).items()}


def _config(session: Session, repository: str, document: Document) -> Run | None:
    """None for what is no image."""
    if document.config is None or document.config.media_type not in IMAGE_CONFIGS:
        return None
    digest = _digest(document.config)
    config = read(ImageConfig, session.blob(repository, digest), digest)
    run = config.config
    return Run(
        created=config.created,
        platform=str(config),
        user=(run and run.user) or None,
        entrypoint=(run and run.entrypoint) or [],
        cmd=(run and run.cmd) or [],
        working_dir=(run and run.working_dir) or None,
        exposed_ports=list((run and run.exposed_ports) or ()),
        labels=_texts(run.labels if run else None),
    )


def _referrers(session: Session, repository: str, digest: Digest) -> tuple[list[Descriptor], bool]:
    """What refers to a manifest, and whether there is more than this.

    Also in registries without a list of that (spec.md, "Unavailable Referrers API").
    """
    about = f"the referrers of {digest}"
    found: list[Descriptor] = []
    room = _MOST_BYTES
    try:
        for body in session.referrers(repository, digest):
            if room < 0:
                return found, True
            found += read(Document, body, about).manifests or ()
            if len(found) > _MOST:
                return found[:_MOST], True
            room -= max(len(body), _PAGE_BYTES)  # so that pages with nothing in them come to an end, too
    except RegistryRefused as error:
        if error.status not in _NO_REFERRERS:
            raise
    else:
        return found, False
    try:
        content = session.manifest(repository, digest.replace(":", "-")).content
    except RegistryRefused as error:
        if error.status == _NOT_FOUND:
            return [], False
        raise
    found = read(Document, content, about).manifests or []
    return found[:_MOST], len(found) > _MOST


def _digest(descriptor: Descriptor) -> Digest:
    try:
        return Digest(descriptor.digest)
    except DigestInvalid as error:
        raise Refused(f"{descriptor.digest!r}, which a manifest names: {error.message}") from None
