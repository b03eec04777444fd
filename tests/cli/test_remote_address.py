"""The addresses of registries, repositories and images, as people write them."""

from __future__ import annotations

import click
import pytest

from cargohold.cli.remote.address import is_loopback, parse_place, parse_registry

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "origin", "prefix"),
    [
        ("localhost:5000", "http://localhost:5000", ""),
        ("localhost", "http://localhost", ""),
        ("127.0.0.1:5000/", "http://127.0.0.1:5000", ""),
        ("[::1]:5000", "http://[::1]:5000", ""),
        ("[2001:db8::1]", "https://[2001:db8::1]", ""),
        ("registry.example.com", "https://registry.example.com", ""),
        ("Registry.Example.com:8443/hold/", "https://registry.example.com:8443", "/hold"),
        ("http://registry/a/b", "http://registry", "/a/b"),
        ("https://localhost:5000", "https://localhost:5000", ""),
        ("box:5000", "https://box:5000", ""),
    ],
)
def test_registries(text: str, origin: str, prefix: str) -> None:
    """Without a scheme it is HTTP for this machine and HTTPS for others; the path is what stands before `/v2/`."""
    address = parse_registry(text, plain_http=False)
    assert (address.origin, address.prefix) == (origin, prefix)


def test_plain_http() -> None:
    """The option speaks for what has no scheme, and for nothing else."""
    assert parse_registry("example.com", plain_http=True).origin == "http://example.com"
    assert parse_registry("https://example.com", plain_http=True).origin == "https://example.com"


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("localhost:5000/app", "app", None, None),
        ("localhost:5000/team/app:1.0", "team/app", "1.0", None),
        (f"http://localhost:5000/team/app@{DIGEST}", "team/app", None, DIGEST),
        (f"[::1]:5000/team/app:1.0@{DIGEST}", "team/app", "1.0", DIGEST),
        ("registry.example.com/a:b", "a", "b", None),
    ],
)
def test_places(text: str, repository: str, tag: str | None, digest: str | None) -> None:
    """A repository ends at its tag and digest; the digest counts where there are both, and the text comes back."""
    place = parse_place(text, "", plain_http=False)
    assert (place.repository, place.tag, place.digest) == (repository, tag, digest)
    assert place.reference == (digest or tag)
    assert str(place) == text.removeprefix("http://")


@pytest.mark.parametrize("prefix", ["hold", "/hold", "/hold/"])
def test_prefix(prefix: str) -> None:
    """What stands before `/v2/` is no part of the repository, with whichever slashes it is written."""
    place = parse_place("localhost:5000/app", prefix, plain_http=False)
    assert (place.address.prefix, place.repository) == ("/hold", "app")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not understood"),
        ("ftp://example.com/a", "is not understood"),
        ("app@sha256:abc", "is not understood"),
        ("ann:s3cret@example.com/a", "an address holds no login"),
        ("https://ann:s3cret@example.com/a", "an address holds no login"),
        ("example.com/a?x=1", "is not understood"),
        ("example.com/a b", "is not understood"),
        ("example.com:port/a", "is not understood"),
        ("team/app:1.0", "does not begin with a registry"),
        ("app", "does not begin with a registry"),
        ("localhost:5000", "names a registry alone"),
        ("localhost:5000/", "names a registry alone"),
        ("localhost:5000/App", "a repository name is made of"),
        ("localhost:5000//app", "a repository name is made of"),
        ("localhost:5000/app:", "a tag has at most"),
        ("localhost:5000/app:.x", "a tag has at most"),
        ("localhost:5000/app:1:2", "a tag has at most"),
        ("localhost:5000/app@sha256:abc", "a sha256 digest has 64"),
    ],
)
def test_misunderstood(text: str, words: str) -> None:
    """What is no address of a repository is a misuse; the message says which part is wrong."""
    with pytest.raises(click.UsageError) as raised:
        parse_place(text, "", plain_http=False)
    assert words in raised.value.message
    assert "s3cret" not in raised.value.message


@pytest.mark.parametrize(
    ("host", "so"),
    [
        ("localhost", True),
        ("LOCALHOST:5000", True),
        ("a.localhost", True),
        ("127.9.9.9:1", True),
        ("[::1]:5000", True),
        ("::1", True),
        ("notlocalhost", False),
        ("localhost.example.com", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback(host: str, so: bool) -> None:
    """This machine is known by its name or its addresses, and by nothing that only looks like them."""
    assert is_loopback(host) is so
