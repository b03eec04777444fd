"""Registries that are broken, or that mean harm: commands say so, end, and give nothing away."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.asking import PASSWORD, USER, ask, done, refused
from tests.cli.hostile import Reply
from tests.e2e.pushing import MANIFEST, descriptor, digest_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Play
    from tests.cli.hostile import Asked

JSON = {"Content-Type": "application/json"}
HELLO = Reply(200, JSON, b"{}")
LOGIN = ("--user", USER, "--password-stdin")
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
CONFIG = b'{"os":"linux","architecture":"amd64","config":{"Labels":{"a":"\\u001b[2Jb"}}}'


def names(field: str, *values: str, **headers: str) -> Reply:
    return Reply(200, JSON | headers, json.dumps({field: values}).encode())


def image() -> bytes:
    config = descriptor(CONFIG, "application/vnd.oci.image.config.v1+json")
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}).encode()


def asks_for_basic(asked: Asked, reply: Reply) -> Reply:
    return reply if asked.authorization else Reply(401, {"WWW-Authenticate": 'Basic realm="x"'})


def test_blob_elsewhere(play: Play, tmp_path: Path) -> None:
    """A registry may lead to where its blobs are; that place is not told the login."""
    elsewhere = play(lambda _: Reply(200, {}, CONFIG))

    def answers(asked: Asked) -> Reply:
        if asked.target == "/v2/":
            return asks_for_basic(asked, HELLO)
        if "/blobs/" in asked.target:
            return Reply(307, {"Location": f"http://{elsewhere.host}/there"})
        if "/manifests/" in asked.target and "sha256-" not in asked.target:
            return Reply(200, {"Content-Type": MANIFEST}, image())
        return Reply(404, {})

    registry = play(answers)
    shown = done(tmp_path, "inspect", f"{registry.host}/app:1", *LOGIN, typed=PASSWORD)
    assert "platform     linux/amd64" in shown
    assert r"labels       a=\x1b[2Jb" in shown
    assert {each.authorization for each in registry.asked[1:]} == {BASIC}
    assert [(each.target, each.authorization) for each in elsewhere.asked] == [("/there", None)]


@pytest.mark.parametrize("location", ["/v2/app/blobs/again", "ELSEWHERE"])
def test_redirects_that_are_not_followed(play: Play, tmp_path: Path, location: str) -> None:
    """Deletions are done by the registry that was named, or not at all; and no chain of redirects is endless."""
    elsewhere = play(lambda _: Reply(202, {}))
    target = location.replace("ELSEWHERE", f"http://{elsewhere.host}/there")

    def answers(asked: Asked) -> Reply:
        if asked.target == "/v2/":
            return HELLO
        if asked.method == "HEAD":
            return Reply(200, {"Docker-Content-Digest": digest_of(b"")})
        return Reply(307, {"Location": target})

    registry = play(answers)
    result = ask(tmp_path, "rm", "--yes", f"{registry.host}/app:1")
    assert (result.exit_code, result.stdout, elsewhere.asked) == (1, "", [])
    assert "answers 307" in result.stderr
    if location != "ELSEWHERE":
        words = refused(tmp_path, "inspect", f"{registry.host}/app:1")
        assert "leads from one place to another more than 5 times" in words


def test_token_service_in_the_clear(play: Play, tmp_path: Path) -> None:
    """A password goes to no token service that others can listen to; who has none may ask it."""
    challenge = 'Bearer realm="http://tokens.example.com/token",service="x"'
    registry = play(lambda _: Reply(401, {"WWW-Authenticate": challenge}))
    words = refused(tmp_path, "ls", registry.host, *LOGIN, typed=PASSWORD)
    assert "names tokens.example.com as its token service, which would get the password in the clear" in words
    assert [each.authorization for each in registry.asked] == [None]


@pytest.mark.parametrize(
    ("challenge", "token", "words"),
    [
        ('Bearer realm="/token"', "", "names no token service that can be asked"),
        ('Bearer realm="http://ann:x@127.0.0.1/token"', "", "names no token service that can be asked"),
        ('Bearer service="x"', "", "names no token service that can be asked"),
        ('Bearer realm="http://HOST/token"', '{"token": ""}', "answers without a token"),
        ('Bearer realm="http://HOST/token"', '{"token": "a\\nb"}', "answers without a token"),
        ('Bearer realm="http://HOST/token"', "[]", "answers without a token"),
        ('Bearer realm="http://HOST/token"', '{"token": "\udcff"}', "answers without a token"),
        ('Bearer realm="http://HOST/token"', '{"x": ' + "[" * 9999, "answers without a token"),
        (f'Bearer realm="http://{"a" * 64}/token"', "", "this can be no host's name"),
        ("Negotiate", "", "answers 401"),
    ],
)
def test_challenges(play: Play, tmp_path: Path, challenge: str, token: str, words: str) -> None:
    """What cannot be followed is said, and tried no further."""
    hosts: list[str] = []

    def answers(asked: Asked) -> Reply:
        if asked.target.startswith("/token"):
            return Reply(200, JSON, token.encode(errors="surrogateescape"))
        return Reply(401, {"WWW-Authenticate": challenge.replace("HOST", hosts[0])})

    registry = play(answers)
    hosts.append(registry.host)
    assert words in refused(tmp_path, "ls", registry.host)
    assert len(registry.asked) <= 2


def test_tokens_that_are_never_enough(play: Play, tmp_path: Path) -> None:
    """A registry that refuses the token that it asked for is asked once more, and no further."""
    hosts: list[str] = []

    def answers(asked: Asked) -> Reply:
        if asked.target.startswith("/token"):
            return Reply(200, JSON, b'{"access_token": "abc"}')
        return Reply(401, {"WWW-Authenticate": f'Bearer realm="http://{hosts[0]}/token",scope="x:y:z"'})

    registry = play(answers)
    hosts.append(registry.host)
    assert "answers 401" in refused(tmp_path, "ls", registry.host)
    targets = [each.target for each in registry.asked]
    first, second = "/token?scope=registry%3Acatalog%3A%2A", "/token?scope=x%3Ay%3Az"
    assert targets == ["/v2/", first, "/v2/_catalog", second, "/v2/_catalog"]
    assert [each.authorization for each in registry.asked if "catalog" in each.target[:12]] == [
        "Bearer abc"
    ] * 2


def test_pages_elsewhere(play: Play, tmp_path: Path) -> None:
    """Whatever host a link names, the next page is asked of the registry."""
    elsewhere = play(lambda _: names("repositories", "wrong"))

    def answers(asked: Asked) -> Reply:
        if asked.target == "/v2/":
            return asks_for_basic(asked, HELLO)
        if "last=" in asked.target:
            return names("repositories", "b")
        return names("repositories", "a", Link=f'<http://{elsewhere.host}/v2/_catalog?last=a>; rel="next"')

    registry = play(answers)
    assert done(tmp_path, "ls", registry.host, *LOGIN, typed=PASSWORD) == "a\nb\n"
    assert elsewhere.asked == []


def test_endless_list(play: Play, tmp_path: Path) -> None:
    """A page that leads to itself ends the list, with an error."""
    link = {"Link": '</v2/_catalog?last=a>; rel="next"'}
    registry = play(lambda asked: HELLO if asked.target == "/v2/" else names("repositories", "a", **link))
    result = ask(tmp_path, "ls", registry.host)
    assert (result.exit_code, result.stdout) == (1, "a\na\n")
    assert "the list leads from a page to the same page" in result.stderr


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"nothing",
        b'{"repositories": "a"}',
        b'{"repositories": [1]}',
        b'{"repositories": ["\xff"]}',
        b"[" * 9999,
    ],
)
def test_no_list(play: Play, tmp_path: Path, body: bytes) -> None:
    """What is no list is said to be none."""
    registry = play(lambda asked: HELLO if asked.target == "/v2/" else Reply(200, JSON, body))
    assert "the answer is not a list of repositories" in refused(tmp_path, "ls", registry.host)


def test_too_long(play: Play, tmp_path: Path) -> None:
    """An answer that would fill the memory is not taken."""
    registry = play(lambda asked: HELLO if asked.target == "/v2/" else Reply(200, JSON, bytes(40 << 20)))
    assert "answers with more than 32 MiB" in refused(tmp_path, "ls", registry.host)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(500, {}), "answers 500 Internal Server Error"),
        (Reply(404, {}, b"<html>"), "answers 404 Not Found; there is no registry here"),
        (Reply(500, JSON, b'{"errors":[{"message":"\xff"}]}'), "answers 500 Internal Server Error"),
        (Reply(200, {"Content-Length": "x"}), "bad Content-Length"),
        (Reply(307, {"Location": "http://a:x/"}), "leads to what is no URL: Invalid port: 'x'"),
        (Reply(307, {"Location": "https://a..b/"}), "a..b: this can be no host's name"),
        (Reply(429, {"Retry-After": "9" * 5000}), "answers 429 Too Many Requests"),
        (Reply(429, {"Retry-After": "7"}), "answers 429 Too Many Requests; it asks to wait for 7 s"),
        (Reply(403, JSON, b'{"errors":[{"code":"DENIED"},{"message":"no"}]}'), "answers 403 DENIED; no"),
        (Reply(400, JSON, b'{"errors":[{"code":"X\\u001b[1m\\u0007"}]}'), r"answers 400 X\x1b[1m\x07"),
        (Reply(200, {"Content-Encoding": "gzip"}, b"x"), ""),
    ],
)
def test_no_registry(play: Play, tmp_path: Path, reply: Reply, words: str) -> None:
    """What is said instead of a greeting is told in the words of who says it, without what would command a terminal."""
    registry = play(lambda _: reply)
    said = refused(tmp_path, "ls", registry.host)
    assert words in said
    assert "TLS" not in said


def test_names_that_command_terminals(play: Play, tmp_path: Path) -> None:
    """Names are printed without what would command a terminal; in JSON the value is what came."""
    registry = play(lambda asked: HELLO if asked.target == "/v2/" else names("tags", "a\x1b[2J\nb\x9b\u202e"))
    assert done(tmp_path, "tags", f"{registry.host}/a") == "a\\x1b[2J\\nb\\x9b\\u202e\n"
    shown = done(tmp_path, "tags", "--json", f"{registry.host}/a")
    assert shown.replace("\n", "").isprintable()
    assert json.loads(shown) == ["a\x1b[2J\nb\x9b\u202e"]


@pytest.mark.parametrize("reference", ["1", digest_of(b"other")])
def test_other_content(play: Play, tmp_path: Path, reference: str) -> None:
    """A manifest that has not the digest that it was asked for, or is said to have, is not believed."""

    def answers(asked: Asked) -> Reply:
        return (
            HELLO
            if asked.target == "/v2/"
            else Reply(200, {"Docker-Content-Digest": digest_of(b"other")}, b"{}")
        )

    registry = play(answers)
    mark = "@" if ":" in reference else ":"
    words = refused(tmp_path, "inspect", "--raw", f"{registry.host}/app{mark}{reference}")
    assert words.endswith(f"what the registry sent has not the digest {digest_of(b'other')}")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"layers": 1}',
        b'{"config": {"digest": 1}}',
        b'{"mediaType": "\xff"}',
        b'{"annotations":' + b"[" * 9999,
        b'{"layers": [{"size": -5}]}',
    ],
)
def test_no_manifest(play: Play, tmp_path: Path, body: bytes) -> None:
    """What is no manifest is said not to be understood."""
    registry = play(lambda asked: HELLO if asked.target == "/v2/" else Reply(200, {}, body))
    assert "what the registry has there is not understood" in refused(
        tmp_path, "inspect", f"{registry.host}/app:1"
    )
