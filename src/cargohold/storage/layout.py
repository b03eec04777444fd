"""Names to paths: the tree of the CNCF Distribution registry, byte for byte, and what is ours beside it. Pure.

Under the root::

    docker/registry/v2/                             everything here is Distribution's layout
    ├── blobs/<alg>/<first two of hex>/<hex>/data   raw bytes: layers, configs, manifests
    └── repositories/<name>/
        ├── _layers/<alg>/<hex>/link                the blobs that the repository sees
        ├── _manifests/
        │   ├── revisions/<alg>/<hex>/link          its manifests
        │   └── tags/<tag>/
        │       ├── current/link                    what the tag points to
        │       └── index/<alg>/<hex>/link          what it has ever pointed to
        ├── _uploads/<uuid>/{startedat,data}        upload sessions
        └── _cargohold/                             ours; Distribution does not look here
            ├── hashing/<uuid>                      the hash of a session's bytes so far
            ├── pulled/<alg>-<hex>                  empty; its time is that of the manifest's last pull
            ├── referrers/<alg>-<hex>/<alg>-<hex>   under a subject, one descriptor for each referrer
            ├── referrers.seen                      the revisions whose subject is recorded
            ├── tags.list                           a long list of tags, with the proof of its freshness
            └── trash/<id>                          a record of each deletion that can be undone
    cargohold/                                      ours, for the registry as a whole
    ├── catalog/<name, with ':' for '/'>            a mark for each repository that holds a manifest
    ├── catalog.list                                a long catalog, with the proof of its freshness
    ├── counters                                    what rate limits and failed logins are counted in
    ├── fsck/verified.json                          which content a verification has read
    ├── gc/                                         what the run of the garbage collector knows so far
    ├── generation                                  64 bits that change with the access tokens
    ├── keys/                                       the keys that tokens are signed with
    ├── locks/<00..3f>, expiry, catalog, state.db   flock is held on these
    ├── locks/quotas/<00..3f>                       and on these
    ├── new/                                        what is being made, before it is renamed into place
    ├── prepared                                    the longest step of leases that a server of the tree has had
    ├── pulls                                       for which repositories pulls are recorded, and since when
    ├── quarantine/                                 what fsck took out of the tree, for somebody to look at
    ├── quotas/<of what>                            how much is used of each quota
    ├── state.db, state.db-wal, state.db-shm        access tokens and refresh tokens, in SQLite
    ├── swept/<alg>-<hex>                           blobs that were collected, about to be removed
    └── totals                                      how much is stored, for the metrics

A `link` holds a digest and no newline.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cargohold.types.digest import Digest

if TYPE_CHECKING:
    from cargohold.types.names import RepositoryName, Tag, UploadId


_GOES = re.compile(r"/[0-9a-f]{64,}(/|$)|/_manifests/tags/.|/_uploads/.")


class Layout:
    """The paths under one root, as strings.

    Those that each pull needs are joined: names are strings of their own types, which an f-string takes long to format.
    """

    __slots__ = (
        "blobs",
        "catalog",
        "catalog_list",
        "collector_lock",
        "counters",
        "gc",
        "keys",
        "locks",
        "new",
        "own",
        "prepared",
        "pulls",
        "quarantine",
        "quotas",
        "registry",
        "repositories",
        "root",
        "swept",
        "totals",
    )

    def __init__(self, root: str) -> None:
        self.root = root
        self.registry = f"{root}/docker/registry/v2"
        self.blobs = f"{self.registry}/blobs"
        self.repositories = f"{self.registry}/repositories"
        self.own = f"{root}/cargohold"
        self.catalog = f"{self.own}/catalog"
        self.catalog_list = f"{self.own}/catalog.list"
        self.locks = f"{self.own}/locks"
        self.collector_lock = f"{self.locks}/gc"
        self.counters = f"{self.own}/counters"
        self.keys = f"{self.own}/keys"
        self.new = f"{self.own}/new"
        self.prepared = f"{self.own}/prepared"
        self.pulls = f"{self.own}/pulls"
        self.totals = f"{self.own}/totals"
        self.gc = f"{self.own}/gc"
        self.swept = f"{self.own}/swept"
        self.quarantine = f"{self.own}/quarantine"
        self.quotas = f"{self.own}/quotas"

    def blob(self, digest: Digest) -> str:
        """The folder of a blob."""
        algorithm, _, encoded = digest.partition(":")
        return f"{self.blobs}/{algorithm}/{encoded[:2]}/{encoded}"

    def data(self, digest: Digest) -> str:
        """The bytes of a blob."""
        return f"{self.blob(digest)}/data"

    def repository(self, name: RepositoryName) -> str:
        """The folder of a repository."""
        return f"{self.repositories}/{name}"

    def layer(self, name: RepositoryName, digest: Digest) -> str:
        """The folder whose link makes a blob visible."""
        return f"{self.repositories}/{name}/_layers/{_split(digest)}"

    def layers(self, name: RepositoryName) -> str:
        """The folder of a repository's blobs, one folder an algorithm."""
        return f"{self.repositories}/{name}/_layers"

    def revisions(self, name: RepositoryName) -> str:
        """The folder of a repository's manifests, one folder an algorithm."""
        return f"{self.repositories}/{name}/_manifests/revisions"

    def revision(self, name: RepositoryName, digest: Digest) -> str:
        """The folder whose link makes a manifest part of the repository."""
        return f"{self.repositories}/{name}/_manifests/revisions/{_split(digest)}"

    def revision_link(self, name: RepositoryName, digest: Digest) -> str:
        """The link that makes a manifest part of the repository."""
        encoded = digest.replace(":", "/", 1)
        return "".join((self.repositories, "/", name, "/_manifests/revisions/", encoded, "/link"))  # noqa: FLY002

    def tags(self, name: RepositoryName) -> str:
        """The folder of a repository's tags."""
        return f"{self.repositories}/{name}/_manifests/tags"

    def tag(self, name: RepositoryName, tag: Tag) -> str:
        """The folder of a tag."""
        return f"{self.repositories}/{name}/_manifests/tags/{tag}"

    def tag_current(self, name: RepositoryName, tag: Tag) -> str:
        """The link that says what a tag points to."""
        return "".join((self.repositories, "/", name, "/_manifests/tags/", tag, "/current/link"))  # noqa: FLY002

    def tag_index(self, name: RepositoryName, tag: Tag, digest: Digest) -> str:
        """The folder whose link says that a tag once pointed to this digest."""
        return f"{self.repositories}/{name}/_manifests/tags/{tag}/index/{_split(digest)}"

    def uploads(self, name: RepositoryName) -> str:
        """The folder of a repository's upload sessions."""
        return f"{self.repositories}/{name}/_uploads"

    def upload(self, name: RepositoryName, upload: UploadId) -> str:
        """The folder of an upload session."""
        return f"{self.repositories}/{name}/_uploads/{upload}"

    def hashing(self, name: RepositoryName, upload: UploadId) -> str:
        """The saved state of a session's hash."""
        return f"{self.repositories}/{name}/_cargohold/hashing/{upload}"

    def pulled(self, name: RepositoryName) -> str:
        """The folder of the times of a repository's pulls."""
        return f"{self.repositories}/{name}/_cargohold/pulled"

    def referrers(self, name: RepositoryName, subject: Digest) -> str:
        """The folder of what refers to a subject."""
        return f"{self.repositories}/{name}/_cargohold/referrers/{flat(subject)}"

    def referrers_seen(self, name: RepositoryName) -> str:
        """The list of revisions whose subject is recorded."""
        return f"{self.repositories}/{name}/_cargohold/referrers.seen"

    def tags_list(self, name: RepositoryName) -> str:
        """The kept list of a repository's tags."""
        return f"{self.repositories}/{name}/_cargohold/tags.list"

    def trash(self, name: RepositoryName) -> str:
        """The folder of the records of what was deleted in a repository."""
        return f"{self.repositories}/{name}/_cargohold/trash"

    @staticmethod
    def lasts(folder: str) -> bool:
        """Whether a folder is never removed once it is there: not that of a digest, of a tag, or of a session."""
        return _GOES.search(folder) is None

    def catalog_mark(self, name: RepositoryName) -> str:
        """The mark of a repository that holds a manifest; no repository's name has a colon."""
        return f"{self.catalog}/{name.replace('/', ':')}"


def flat(digest: Digest) -> str:
    """A digest as one file name, which `unflat` reads back."""
    return digest.replace(":", "-", 1)


def unflat(name: str) -> Digest:
    """The digest that a file is named after. Raises DigestInvalid."""
    return Digest(name.replace("-", ":", 1))


def _split(digest: Digest) -> str:
    return digest.replace(":", "/", 1)
