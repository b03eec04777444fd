"""The router: which operation an address asks for (spec.md, "Endpoints"), or which error it is."""

from __future__ import annotations

from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cargohold.http.router import route
from cargohold.types import operations as ops
from cargohold.types.digest import Algorithm, Digest
from cargohold.types.errors import (
    BlobUploadUnknown,
    DigestInvalid,
    EndpointUnknown,
    ManifestUnknown,
    MethodNotAllowed,
    NameInvalid,
    PaginationInvalid,
    RegistryError,
    TagInvalid,
)
from cargohold.types.names import RepositoryName, Tag, UploadId
from cargohold.types.operations import Permission
from cargohold.types.paging import Page

APP = RepositoryName("library/app")
DIGEST = Digest("sha256:" + "0" * 64)
LONG = Digest("sha512:" + "f" * 128)
UPLOAD = UploadId("0a1b2c3d-0000-4000-8000-0123456789ab")
ANY = Page(None, "")
SESSION = f"/v2/library/app/blobs/uploads/{UPLOAD}"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/v2/", ops.CheckSupport()),
        ("HEAD", "/v2", ops.CheckSupport()),
        ("GET", "/auth/token?service=cargohold&scope=repository:app:pull", ops.RequestToken()),
        ("POST", "/auth/token", ops.RequestToken()),
        ("GET", "/auth/keys", ops.PublishKeys()),
        ("HEAD", "/auth/keys", ops.PublishKeys()),
        ("GET", "/v2/_catalog", ops.ListRepositories(ANY)),
        ("GET", "/v2/_catalog?n=5&last=a%2Fb", ops.ListRepositories(Page(5, "a/b"))),
        ("GET", "/v2/library/app/tags/list", ops.ListTags(APP, ANY)),
        ("HEAD", "/v2/library/app/tags/list?last=1+0&n=0", ops.ListTags(APP, Page(0, "1 0"))),
        ("GET", "/v2/library/app/manifests/v1", ops.PullManifest(APP, Tag("v1"))),
        ("HEAD", f"/v2/library/app/manifests/{DIGEST}", ops.PullManifest(APP, DIGEST)),
        ("GET", f"/v2/library/app/manifests/{LONG}?ns=docker.io", ops.PullManifest(APP, LONG)),
        ("PUT", "/v2/library/app/manifests/v1", ops.PushManifest(APP, Tag("v1"))),
        (
            "PUT",
            f"/v2/library/app/manifests/{DIGEST}?tag=a&x=y&tag=b",
            ops.PushManifest(APP, DIGEST, (Tag("a"), Tag("b"))),
        ),
        ("DELETE", "/v2/library/app/manifests/v1", ops.DeleteManifest(APP, Tag("v1"))),
        ("DELETE", f"/v2/library/app/manifests/{LONG}", ops.DeleteManifest(APP, LONG)),
        ("GET", f"/v2/library/app/blobs/{DIGEST}", ops.PullBlob(APP, DIGEST)),
        ("HEAD", f"/v2/library/app/blobs/{LONG}", ops.PullBlob(APP, LONG)),
        ("DELETE", f"/v2/library/app/blobs/{DIGEST}", ops.DeleteBlob(APP, DIGEST)),
        ("POST", "/v2/library/app/blobs/uploads/", ops.StartUpload(APP)),
        ("POST", "/v2/library/app/blobs/uploads", ops.StartUpload(APP)),
        (
            "POST",
            "/v2/library/app/blobs/uploads/?digest-algorithm=sha512",
            ops.StartUpload(APP, None, Algorithm.SHA512),
        ),
        (
            "POST",
            f"/v2/library/app/blobs/uploads/?digest={LONG}",
            ops.StartUpload(APP, LONG, Algorithm.SHA512),
        ),
        (
            "POST",
            f"/v2/library/app/blobs/uploads/?mount={DIGEST}&from=a/b",
            ops.MountBlob(APP, DIGEST, RepositoryName("a/b")),
        ),
        (
            "POST",
            f"/v2/library/app/blobs/uploads/?from=a%2Fb&mount={quote(LONG)}",
            ops.MountBlob(APP, LONG, RepositoryName("a/b")),
        ),
        ("POST", f"/v2/library/app/blobs/uploads/?mount={DIGEST}", ops.MountBlob(APP, DIGEST, None)),
        ("POST", f"/v2/library/app/blobs/uploads/?mount={DIGEST}&from=", ops.MountBlob(APP, DIGEST, None)),
        (
            "POST",
            f"/v2/library/app/blobs/uploads/?mount={DIGEST}&digest={LONG}",
            ops.MountBlob(APP, DIGEST, None),
        ),
        ("GET", SESSION, ops.CheckUpload(APP, UPLOAD)),
        ("HEAD", SESSION, ops.CheckUpload(APP, UPLOAD)),
        ("PATCH", f"{SESSION}?digest=x", ops.AppendUpload(APP, UPLOAD)),
        ("PUT", f"{SESSION}?digest={quote(DIGEST)}", ops.FinishUpload(APP, UPLOAD, DIGEST)),
        ("DELETE", SESSION, ops.CancelUpload(APP, UPLOAD)),
        ("PUT", f"{SESSION}?digest={LONG}&digest={DIGEST}", ops.FinishUpload(APP, UPLOAD, LONG)),
        ("GET", "/v2/_catalog?n=1&n=x&last=a&last=b", ops.ListRepositories(Page(1, "a"))),
        ("GET", f"/v2/library/app/referrers/{DIGEST}", ops.ListReferrers(APP, DIGEST, None, None)),
        (
            "GET",
            f"/v2/library/app/referrers/{LONG}?artifactType=a%2Fb%2Bjson&last={quote(DIGEST)}",
            ops.ListReferrers(APP, LONG, "a/b+json", DIGEST),
        ),
    ],
)
def test_an_address_asks_for_an_operation(method: str, target: str, expected: ops.Operation) -> None:
    """Each endpoint of the specification, in each form, is one operation; of equal parameters the first counts."""
    path, _, query = target.partition("?")
    assert route(method, path, query) == expected


@pytest.mark.parametrize(
    "name", ["manifests", "blobs", "blobs/uploads", "tags", "tags/list", "referrers", "a/manifests/b", "v2"]
)
def test_a_name_may_be_of_the_words_of_an_address(name: str) -> None:
    """An address is read from its end, so that a repository may be called like a part of one."""
    repository = RepositoryName(name)
    assert route("GET", f"/v2/{name}/manifests/list", "") == ops.PullManifest(repository, Tag("list"))
    assert route("GET", f"/v2/{name}/blobs/{DIGEST}", "") == ops.PullBlob(repository, DIGEST)
    assert route("POST", f"/v2/{name}/blobs/uploads/", "") == ops.StartUpload(repository)
    assert route("DELETE", f"/v2/{name}/blobs/uploads/{UPLOAD}", "") == ops.CancelUpload(repository, UPLOAD)
    assert route("GET", f"/v2/{name}/tags/list", "") == ops.ListTags(repository, ANY)
    assert route("GET", f"/v2/{name}/referrers/{DIGEST}", "") == ops.ListReferrers(
        repository, DIGEST, None, None
    )


@pytest.mark.parametrize(
    ("method", "target", "error"),
    [
        ("GET", "/", EndpointUnknown),
        ("GET", "/v2/x", EndpointUnknown),
        ("GET", "//v2/", EndpointUnknown),
        ("GET", "/v2/app/blobs/", DigestInvalid),
        ("GET", "/v2/app/manifests/", ManifestUnknown),
        ("PUT", "/v2/app/manifests/", TagInvalid),
        ("GET", "/v2/manifests/v1", NameInvalid),
        ("GET", "/v2//manifests/v1", NameInvalid),
        ("GET", "/v2/app//manifests/v1", NameInvalid),
        ("GET", "/v2//app/manifests/v1", NameInvalid),
        ("GET", "/v2/app/../app/manifests/v1", NameInvalid),
        ("GET", "/v2/../v2/app/manifests/v1", NameInvalid),
        ("GET", "/v2/app/manifests/..", ManifestUnknown),
        ("GET", "/v2/app/manifests/.", ManifestUnknown),
        ("GET", "/v2/app/blobs/..", DigestInvalid),
        ("GET", "/v2/app/blobs/uploads/..", BlobUploadUnknown),
        ("GET", "/v2/app\n/tags/list", NameInvalid),
        ("GET", "/v2/app/tags/list?n=-1", PaginationInvalid),
        ("PUT", SESSION, DigestInvalid),
        ("POST", "/v2/_catalog", MethodNotAllowed),
        ("HEAD", "/auth/token", MethodNotAllowed),
        ("POST", "/auth/keys", MethodNotAllowed),
        ("GET", "/auth/token/", EndpointUnknown),
        ("GET", "/auth", EndpointUnknown),
        ("GET", "/v2/auth/token", EndpointUnknown),
        ("get", "/v2/", MethodNotAllowed),
        ("", "/v2/", MethodNotAllowed),
    ],
)
def test_what_is_wrong_is_told_apart(method: str, target: str, error: type[RegistryError]) -> None:
    """No endpoint, a bad name, reference, session or number, and a method that is not there: each has its error."""
    path, _, query = target.partition("?")
    with pytest.raises(error) as raised:
        route(method, path, query)
    assert type(raised.value) is error


COMPONENTS = st.from_regex(r"\A[a-z0-9]{1,8}(?:(?:\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}\Z")
NAMES = st.lists(COMPONENTS, min_size=1, max_size=8).map("/".join)
TAGS = st.from_regex(r"\A[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
WORDS = st.sampled_from(
    [
        "v2",
        "manifests",
        "blobs",
        "uploads",
        "tags",
        "list",
        "referrers",
        "_catalog",
        "..",
        ".",
        "",
        "app",
        DIGEST,
        UPLOAD,
    ]
)
PATHS = st.one_of(
    st.text(),
    st.lists(st.one_of(WORDS, st.text(max_size=5)), max_size=8).map("/".join),
    st.lists(WORDS, max_size=8).map(lambda words: "/v2/" + "/".join(words)),
)
KEYS = st.sampled_from(
    ["n", "last", "digest", "mount", "from", "tag", "artifactType", "digest-algorithm", "ns"]
)
QUERIES = st.one_of(
    st.text(),
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.lists(st.tuples(KEYS, st.one_of(st.text(), WORDS))).map(urlencode),
)


@settings(deadline=None, max_examples=1000)
@given(st.one_of(st.sampled_from(METHODS), st.text()), PATHS, QUERIES)
@example("GET", "/v2/app/tags/list", "n=" + "9" * 8000)
@example("PUT", "/v2/" + "a/" * 4000 + "manifests/x", "tag=x&" * 4000)
@example("POST", "/v2/app/blobs/uploads/", "mount=%ff%fe&from=%00")
@example("GET", "/v2/" + "a-" * 4000 + "/tags/list", "&;=%" * 1000)
@example("GET", "/v2/" + "a" * 8000 + "!/tags/list", "")
def test_anything_is_an_operation_or_an_error(method: str, path: str, query: str) -> None:
    """Whatever a client writes, the router gives an operation or raises an error that has an answer of its own."""
    found: ops.Operation | RegistryError
    try:
        found = route(method, path, query)
    except RegistryError as error:
        found = error
    if isinstance(found, RegistryError):
        assert 400 <= found.status < 500
        assert 0 < len(found.message) < 500
    else:
        assert all(isinstance(access.permission, Permission) for access in found.needs())


@settings(deadline=None)
@given(NAMES, TAGS)
def test_every_good_name_is_understood(name: str, tag: str) -> None:
    """Every name and tag of the grammars is taken for what it is, at every endpoint."""
    repository = RepositoryName(name)
    assert route("GET", f"/v2/{name}/manifests/{tag}", "") == ops.PullManifest(repository, Tag(tag))
    assert route("GET", f"/v2/{name}/tags/list", "") == ops.ListTags(repository, ANY)
    assert route("HEAD", f"/v2/{name}/blobs/{DIGEST}", "") == ops.PullBlob(repository, DIGEST)
    mount = route("POST", "/v2/target/blobs/uploads/", urlencode({"mount": DIGEST, "from": name}))
    assert mount == ops.MountBlob(RepositoryName("target"), DIGEST, repository)


@settings(deadline=None)
@given(st.lists(TAGS, max_size=30))
def test_every_tag_of_a_query_is_set_once(tags: list[str]) -> None:
    """The tags of a push by digest are those of the query, in their order, each once."""
    operation = route("PUT", f"/v2/app/manifests/{DIGEST}", urlencode([("tag", tag) for tag in tags]))
    assert operation == ops.PushManifest(RepositoryName("app"), DIGEST, tuple(map(Tag, dict.fromkeys(tags))))


@settings(deadline=None)
@given(st.text(), st.text(min_size=1), st.text())
def test_no_operation_holds_a_path(before: str, middle: str, after: str) -> None:
    """No operation bears a name that could lead elsewhere: dots, doubled slashes, NUL or line ends."""
    for path in (
        f"/v2/{before}/../{middle}/manifests/{after}",
        f"/v2/{before}//{middle}/blobs/{after}",
        f"/v2/\0{middle}/tags/list",
    ):
        for method in METHODS:
            with pytest.raises(RegistryError):
                route(method, path, "")


@pytest.mark.parametrize("filling", ["", "x=" + "y" * 2000], ids=["short", "too long to be remembered"])
def test_an_address_is_read_alike_each_time(filling: str) -> None:
    """What was asked before is the same operation or the same error again; a method or query apart is another."""
    path = f"/v2/library/app/manifests/{DIGEST}"
    for _ in range(3):
        assert route("GET", path, filling) == ops.PullManifest(APP, DIGEST)
        assert route("DELETE", path, filling) == ops.DeleteManifest(APP, DIGEST)
        assert route("PUT", path, f"tag=a&{filling}") == ops.PushManifest(APP, DIGEST, (Tag("a"),))
        assert route("PUT", path, f"tag=b&{filling}") == ops.PushManifest(APP, DIGEST, (Tag("b"),))
        with pytest.raises(MethodNotAllowed):
            route("POST", path, filling)
