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
    read,
)
from cargohold.cli.remote.exchange import RegistryRefused, at_once
from cargohold.types.digest import Digest
from cargohold.types.errors import DigestInvalid

if TYPE_CHECKING:
    from cargohold.cli.remote.session import Found, Session

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
    """What is printed. `size` is that of the layers in bytes; of an index, each layer of its parts counts once."""

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


def inspect_manifest(
    session: Session, image: str, repository: str, found: Found, *, quiet: bool
) -> Inspection:
    """Ask for all that the manifest names, but for its layers. Raises Refused."""
    document = read(Document, found.content, image)
    layers = document.layers or []
    parts, layers_of_parts = _parts(session, repository, document.manifests or [], quiet=quiet)
    return Inspection(
        image=image,
        digest=str(found.digest),
        media_type=found.media_type or document.media_type or "",
        artifact_type=document.artifact_type,
        size=_size([*layers, *layers_of_parts]),
        layers=layers,
        manifests=parts,
        config=_config(session, repository, document),
        subject=document.subject.digest if document.subject else None,
        annotations=document.annotations or {},
        referrers=_referrers(session, repository, found.digest),
    )


def _parts(
    session: Session, repository: str, children: list[Descriptor], *, quiet: bool
) -> tuple[list[Part], list[Descriptor]]:
    """The manifests of an index, and the layers of all of them."""

    def layers_of(child: Descriptor) -> list[Descriptor] | None:
        if child.media_type not in IMAGE_MANIFESTS:
            return None
        try:
            found = session.manifest(repository, _digest(child))
        except RegistryRefused as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        return read(Document, found.content, child.digest).layers or []

    parts: list[Part] = []
    every: list[Descriptor] = []
    with (
        at_once() as threads,
        progress("manifests", len(children), quiet=quiet) as advance,
    ):
        for child, layers in zip(children, threads.map(layers_of, children), strict=True):
            size = None if layers is None else _size(layers)
            platform = str(child.platform) if child.platform else None
            parts.append(Part(child.digest, child.media_type, platform, size, child.annotations or {}))
            every += layers or []
            advance(1)
    return parts, every


def _size(layers: list[Descriptor]) -> int:
    return sum({layer.digest: layer.size for layer in layers}.values())


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
        labels=(run and run.labels) or {},
    )


def _referrers(session: Session, repository: str, digest: Digest) -> list[Descriptor]:
    """What refers to a manifest, also in registries without a list of that (spec.md, "Unavailable Referrers API")."""
    try:
        return [
            descriptor
            for body in session.referrers(repository, digest)
            for descriptor in read(Document, body, f"the referrers of {digest}").manifests or ()
        ]
    except RegistryRefused as error:
        if error.status not in _NO_REFERRERS:
            raise
    try:
        found = session.manifest(repository, digest.replace(":", "-"))
    except RegistryRefused as error:
        if error.status == _NOT_FOUND:
            return []
        raise
    return read(Document, found.content, f"the referrers of {digest}").manifests or []


def _digest(descriptor: Descriptor) -> Digest:
    try:
        return Digest(descriptor.digest)
    except DigestInvalid as error:
        raise Refused(f"{descriptor.digest!r}, which a manifest names: {error.message}") from None
