"""cosign: signatures and attestations beside the image that they are about."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.clients.images import Layout
    from tests.e2e.clients.program import Client
    from tests.e2e.clients.repository import Repository

pytestmark = pytest.mark.clients

HTTP = "--allow-insecure-registry"
SIGN = (HTTP, "--tlog-upload=false", "--yes")
VERIFY = (HTTP, "--insecure-ignore-tlog")


@pytest.fixture
def cosign(client: Callable[..., Client]) -> Client:
    # The second is what cosign asks for before it will use the referrers API.
    return client("cosign", COSIGN_PASSWORD="", COSIGN_EXPERIMENTAL="1")


@pytest.fixture
def keys(cosign: Client, tmp_path: Path) -> tuple[str, str]:
    """The options that name the private and the public half of a new key."""
    cosign("generate-key-pair", f"--output-key-prefix={tmp_path / 'signer'}")
    return f"--key={tmp_path / 'signer.key'}", f"--key={tmp_path / 'signer.pub'}"


@pytest.fixture
def signed(cosign: Client, keys: tuple[str, str], image: Layout, repository: Repository) -> str:
    """Pushes an image and signs it; returns its reference by digest."""
    repository.push(image, "v1")
    reference = f"{repository}@{image.digest}"
    cosign("sign", *SIGN, keys[0], reference)
    return reference


def test_a_signature_is_verified(
    cosign: Client, keys: tuple[str, str], signed: str, image: Layout, repository: Repository
) -> None:
    """The signature lies under a tag made of the image's digest and is verified by the public key."""
    (payload,) = json.loads(cosign("verify", *VERIFY, keys[1], signed))
    assert payload["critical"]["image"]["docker-manifest-digest"] == image.digest
    tag = image.digest.replace(":", "-") + ".sig"
    assert repository.tags() == [tag, "v1"]
    assert repository.is_whole(tag)
    assert tag in cosign("triangulate", HTTP, signed)


def test_another_key_does_not_verify(cosign: Client, signed: str, tmp_path: Path) -> None:
    """A signature by one key is no signature by another."""
    cosign("generate-key-pair", f"--output-key-prefix={tmp_path / 'stranger'}")
    cosign.refused("verify", *VERIFY, f"--key={tmp_path / 'stranger.pub'}", signed)


def test_a_second_signature_is_added_to_the_first(
    cosign: Client, keys: tuple[str, str], signed: str, image: Layout, repository: Repository
) -> None:
    """The tag of the signatures moves to a manifest that holds both."""
    cosign("sign", *SIGN, keys[0], "--annotations=stage=second", signed)
    assert len(json.loads(cosign("verify", *VERIFY, keys[1], signed))) == 2
    assert len(repository.manifest(image.digest.replace(":", "-") + ".sig").document["layers"]) == 2


def test_an_attestation_is_verified(
    cosign: Client, keys: tuple[str, str], signed: str, repository: Repository, tmp_path: Path
) -> None:
    """The predicate comes back from the registry, signed."""
    digest = signed.partition("@")[2]
    predicate = tmp_path / "predicate.json"
    predicate.write_text('{"tested": true}')
    kind = "--type=https://example.com/tested/v1"
    cosign("attest", *SIGN, keys[0], kind, f"--predicate={predicate}", signed)
    envelope = json.loads(cosign("verify-attestation", *VERIFY, keys[1], kind, signed))
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["predicate"] == {"tested": True}
    assert statement["subject"][0]["digest"]["sha256"] == digest.removeprefix("sha256:")
    assert repository.is_whole(digest.replace(":", "-") + ".att")


def test_a_signature_as_a_referrer(
    cosign: Client, keys: tuple[str, str], image: Layout, repository: Repository
) -> None:
    """In the mode of OCI 1.1 the signature is found by the referrers API, and no tag is made."""
    repository.push(image, "v1")
    reference = f"{repository}@{image.digest}"
    cosign("sign", *SIGN, keys[0], "--registry-referrers-mode=oci-1-1", reference)
    (referrer,) = repository.referrers(image.digest)
    assert referrer["artifactType"] == "application/vnd.dev.cosign.artifact.sig.v1+json"
    assert repository.is_whole(referrer["digest"])
    assert repository.tags() == ["v1"]
    assert len(json.loads(cosign("verify", *VERIFY, keys[1], "--experimental-oci11=true", reference))) == 1


def test_copy_and_clean(
    cosign: Client, keys: tuple[str, str], signed: str, image: Layout, repository: Repository
) -> None:
    """A copy takes the signatures along; cleaning takes them away and leaves the image."""
    other = repository.below("other")
    cosign("copy", HTTP, signed, f"{other}:v2")
    assert len(json.loads(cosign("verify", *VERIFY, keys[1], f"{other}@{image.digest}"))) == 1
    cosign("clean", HTTP, "--force", signed)
    assert repository.tags() == ["v1"]
    assert repository.is_whole("v1")
    cosign.refused("verify", *VERIFY, keys[1], signed)
    assert len(json.loads(cosign("verify", *VERIFY, keys[1], f"{other}@{image.digest}"))) == 1
