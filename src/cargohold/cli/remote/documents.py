"""Manifests, indexes and configs as any registry may have them: what is told of them, taken as it comes."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

from cargohold.cli.received import decoded
from cargohold.cli.refusal import Refused
from cargohold.types.oci import DOCKER_MANIFEST, OCI_MANIFEST

IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
IMAGE_MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})


class Platform(msgspec.Struct, frozen=True):
    """What an image runs on (image-index.md); as text `linux/arm64/v8`."""

    os: str = ""
    architecture: str = ""
    variant: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")

    def __str__(self) -> str:
        parts = "/".join(filter(None, (self.os, self.architecture, self.variant)))
        return f"{parts} {self.os_version}" if self.os_version else parts


Size = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Descriptor(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What names other content (descriptor.md)."""

    digest: str = ""
    media_type: str = ""
    size: Size = 0
    artifact_type: str | None = None
    platform: Platform | None = None
    annotations: dict[str, str | None] | None = None


class Document(msgspec.Struct, frozen=True, rename="camel"):
    """A manifest or an index."""

    media_type: str | None = None
    artifact_type: str | None = None
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str | None] | None = None


class Layer(msgspec.Struct, frozen=True):
    """What of a layer is counted."""

    digest: str = ""
    size: Size = 0


class Layers(msgspec.Struct, frozen=True):
    """What of a manifest is counted."""

    layers: list[Layer] | None = None


class Execution(msgspec.Struct, frozen=True, rename="pascal"):
    """How an image is run (config.md, "config")."""

    user: str | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    working_dir: str | None = None
    exposed_ports: dict[str, object] | None = None
    labels: dict[str, str | None] | None = None


class ImageConfig(Platform, frozen=True):
    """The config of an image (config.md)."""

    created: str | None = None
    config: Execution | None = None


_Kind = TypeVar("_Kind", Document, Layers, ImageConfig)


def read(kind: type[_Kind], content: bytes, about: str) -> _Kind:
    """A document of a kind. Raises Refused where the content is none."""
    try:
        return decoded(content, kind)
    except ValueError as error:
        raise Refused(f"{about}: what the registry has there is not understood: {error}") from None
