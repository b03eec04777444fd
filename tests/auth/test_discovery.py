"""Where an issuer says that its keys are, and by whose certificate it is known."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from cargohold.auth.published_keys import DiscoveredKeys, JwksUrl
from tests.auth.idp import Issuer, Reply, SigningKey, as_json, server_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cargohold.auth.published_keys import PublishedKeys

WAIT_SECONDS = 20.0
A = SigningKey("a")


@pytest.fixture
def idp() -> Iterator[Issuer]:
    with Issuer(A) as issuer:
        yield issuer


async def finds(source: PublishedKeys, kid: str | None) -> bool:
    return bool(await source.find(kid))


DOCUMENTS = {
    "another issuer's": ({"issuer": "https://other.example.com", "jwks_uri": "{keys}"}, "another issuer"),
    "a slash more": ({"issuer": "{url}/", "jwks_uri": "{keys}"}, "another issuer"),
    "nameless": ({"jwks_uri": "{keys}"}, "no document of OpenID Connect Discovery"),
    "keyless": ({"issuer": "{url}"}, "no document of OpenID Connect Discovery"),
    "a number": ({"issuer": "{url}", "jwks_uri": 5}, "no document of OpenID Connect Discovery"),
    "plain HTTP": ({"issuer": "{url}", "jwks_uri": "http://keys.example.com/"}, "not to be fetched by https"),
    "a file": ({"issuer": "{url}", "jwks_uri": "file:///etc/passwd"}, "not to be fetched by https"),
    "no address": ({"issuer": "{url}", "jwks_uri": "https://["}, "not to be fetched by https"),
    "a line more": ({"issuer": "{url}", "jwks_uri": "https://x\nERROR forged: /"}, "cannot be fetched"),
    "no host": ({"issuer": "{url}", "jwks_uri": "https://"}, "cannot be fetched"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_discovery_that_leads_elsewhere_is_refused(
    idp: Issuer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The document must be the issuer's own (OpenID Connect Discovery, section 4.3), and its keys safely come by.

    Nothing of it makes a line in the log of its own.
    """
    document, complaint = DOCUMENTS[name]
    text = as_json(document).decode().replace("{url}", idp.url).replace("{keys}", idp.keys_url)
    idp.replies[Issuer.DISCOVERY] = Reply(text.encode())

    async def run() -> None:
        assert not await finds(DiscoveredKeys(idp.url), "a")

    asyncio.run(run())
    assert complaint in caplog.text
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert idp.asked == [Issuer.DISCOVERY]


def test_issuer_without_a_web_server_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A port where nobody listens is an issuer that is down."""
    with Issuer() as gone:
        pass

    async def run() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            assert not await finds(JwksUrl(gone.keys_url), "a")

    with caplog.at_level(logging.WARNING):
        asyncio.run(run())
    assert f"the keys of {gone.keys_url} cannot be fetched" in caplog.text


def test_only_certificates_of_the_systems_authorities_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What answers an https address by a certificate that nobody vouches for is not the issuer, whatever it says."""
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(server_certificate())
    with Issuer(A, certificate=certificate) as idp:
        assert idp.url.startswith("https://")
        assert not asyncio.run(finds(JwksUrl(idp.keys_url), "a"))
        assert idp.asked == []
        assert "CERTIFICATE_VERIFY_FAILED" in caplog.text
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert asyncio.run(finds(JwksUrl(idp.keys_url), "a"))
