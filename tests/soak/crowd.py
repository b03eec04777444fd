"""Those who use the registry, each kind in its own way: they push, pull, delete, and have blobs mounted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from tests.soak.actor import Actor
from tests.soak.history import HERE, Key
from tests.soak.world import REPOSITORIES, TAGS, Broken

if TYPE_CHECKING:
    from tests.soak.actor import Asked
    from tests.soak.history import Changes
    from tests.soak.pool import Document

ANY_MANIFEST: Final = "Accept: */*"
_TRIES = 20


class Pusher(Actor):
    """Pushes images, indexes and referrers, with as little of their blobs as it must."""

    def step(self) -> None:
        repository = self.dice.choice(REPOSITORIES)
        if self.dice.random() < 0.3:
            self.push(repository, self.dice.choice(self.pool.loose), [])
        else:
            tags = self.dice.sample(TAGS, self.dice.choice((1, 1, 1, 2)))
            self.push(repository, self.dice.choice(self.pool.tagged), tags)
        self.world.over.wait(self.dice.choice((0, 0, 0.05, 0.2)))

    def push(self, repository: str, document: Document, tags: list[str]) -> bool:
        """Push all that a manifest names, and the manifest; whether that was taken."""
        promised = [self._provide(repository, digest) for digest in document.blobs]
        promised += [self._provide_child(repository, digest) for digest in document.children]
        if self.dice.random() < 0.25 and promised:
            # As late as can be: what was promised first is nearly no longer so.
            late = min(promised) + self.dice.uniform(0.6, 0.95) * self.world.grace
            self.world.over.wait(max(0.0, late - time.monotonic()))
            self.world.counts["manifests pushed late"] += 1
        return self._put(repository, document, tags)

    def _put(self, repository: str, document: Document, tags: list[str]) -> bool:
        key = Key("manifest", repository, document.digest)
        moved = [(Key("tag", repository, tag), document.digest) for tag in tags]
        by_tag = len(tags) == 1 and document.digest.startswith("sha256:")
        query = "&".join(f"tag={tag}" for tag in tags)
        reference = tags[0] if by_tag else f"{document.digest}?{query}".rstrip("?")
        changes = self.history.begin(time.monotonic(), (key, HERE), *moved)
        with self.settling(changes):
            asked = self.ask(
                "PUT",
                f"/v2/{repository}/manifests/{reference}",
                f"Content-Type: {document.media_type}",
                body=document.content,
            )
            self.expect(asked, 201, 404)
        if asked.status == 404:
            changes.refuse()
            self._judge(repository, document, asked)
            return False
        changes.acknowledge(asked.ended)
        self.history.lease(key, asked.started, asked.ended)
        self.world.counts["manifests pushed"] += 1
        return True

    def _judge(self, repository: str, document: Document, asked: Asked) -> None:
        """Refused for what it lacks: none of that may have been promised."""
        body = asked.response.body.decode()
        lacked = [each for each in (*document.blobs, *document.children) if each in body]
        if not lacked:
            raise Broken(f"a manifest was refused for nothing that it names: {body}")
        self.world.counts["manifests refused"] += 1
        for digest in lacked:
            kind = "blob" if digest in document.blobs else "manifest"
            self.missed(Key(kind, repository, digest), asked)

    def _provide_child(self, repository: str, digest: str) -> float:
        """Make sure that a manifest is there; since when that is promised."""
        key = Key("manifest", repository, digest)
        for _ in range(_TRIES):
            asked = self.ask("HEAD", f"/v2/{repository}/manifests/{digest}", ANY_MANIFEST)
            self.expect(asked, 200, 404)
            if asked.status == 200:
                self.history.see(key, asked.started, asked.ended)
                self.history.lease(key, asked.started, asked.ended)
                return asked.started
            self.missed(key, asked)
            started = time.monotonic()
            if self.push(repository, self.pool.documents[digest], []):
                return started
        raise Broken(f"{digest} cannot be pushed to {repository}: its blobs are gone again and again")

    def _provide(self, repository: str, digest: str) -> float:
        """Make sure that a blob is there; since when that is promised."""
        promised = None
        if self.dice.random() < 0.7:
            promised = self.check_blob(repository, digest)
        if promised is None and self.dice.random() < 0.5:
            promised = self.mount(repository, self.dice.choice(REPOSITORIES), digest)
        if promised is None:
            promised = self._upload(repository, digest)
        return promised

    def _upload(self, repository: str, digest: str) -> float:
        """Upload a blob, in one request, in two, or in pieces."""
        content, uploads = self.pool.layers[digest].content, f"/v2/{repository}/blobs/uploads/"
        way = self.dice.choice(("one", "two", "pieces"))
        if way == "one":
            return self._end("POST", f"{uploads}?digest={digest}", repository, digest, content)
        algorithm = digest.partition(":")[0] if self.dice.random() < 0.5 else "sha256"
        opened = self.ask("POST", f"{uploads}?digest-algorithm={algorithm}")
        self.expect(opened, 202)
        location, sent = opened.response["location"], 0
        while way == "pieces" and sent < len(content):
            piece = content[sent : sent + max(2, len(content) // 3)]
            patched = self.ask(
                "PATCH", location, f"Content-Range: {sent}-{sent + len(piece) - 1}", body=piece
            )
            self.expect(patched, 202)
            location, sent = patched.response["location"], sent + len(piece)
        return self._end("PUT", f"{location}?digest={digest}", repository, digest, content[sent:])

    def _end(self, method: str, target: str, repository: str, digest: str, body: bytes) -> float:
        key = Key("blob", repository, digest)
        changes = self.history.begin(time.monotonic(), (key, HERE))
        with self.settling(changes):
            asked = self.ask(method, target, body=body)
            self.expect(asked, 201)
        changes.acknowledge(asked.ended)
        self.history.lease(key, asked.started, asked.ended)
        self.world.counts["blobs uploaded"] += 1
        return asked.started


class Puller(Actor):
    """Pulls what a tag leads to, with all that belongs to it."""

    def step(self) -> None:
        repository, tag = self.dice.choice(REPOSITORIES), self.dice.choice(TAGS)
        key = Key("tag", repository, tag)
        asked = self.ask("GET", f"/v2/{repository}/manifests/{tag}", ANY_MANIFEST)
        self.expect(asked, 200, 404)
        found = asked.response["docker-content-digest"] if asked.status == 200 else None
        possible = self.history.possible(key, asked.started, asked.ended)
        if found not in possible:
            self.broken(
                key, f"tag {tag} leads to {found}, and must lead to one of {possible}; {asked.response}"
            )
        self.world.counts["tags pulled" if found else "tags that were not there"] += 1
        if found is not None:
            self._pull(repository, self.pool.documents[found], asked, asked.started)
        self._list_tags(repository)
        self.world.over.wait(self.dice.choice((0, 0, 0.05)))

    def _pull(self, repository: str, document: Document, asked: Asked, pulled: float) -> None:
        if asked.response.body != document.content:
            self.broken(
                Key("manifest", repository, document.digest),
                f"manifest {document.digest} has other bytes: {asked.response.body!r}",
            )
        for digest in document.blobs:
            if self.dice.random() < 0.1:
                self.world.over.wait(0.5 * self.world.grace)
            self.read_blob(repository, digest, pulled)
        for digest in document.children:
            self._pull_manifest(repository, digest)
        if document.digest in self.pool.referrers:
            self._list_referrers(repository, document.digest)

    def _pull_manifest(self, repository: str, digest: str) -> None:
        asked = self.ask("GET", f"/v2/{repository}/manifests/{digest}", ANY_MANIFEST)
        self.expect(asked, 200, 404)
        if asked.status == 404:
            self.missed(Key("manifest", repository, digest), asked)
        else:
            self._pull(repository, self.pool.documents[digest], asked, asked.started)

    def _list_referrers(self, repository: str, subject: str) -> None:
        asked = self.ask("GET", f"/v2/{repository}/referrers/{subject}")
        self.expect(asked, 200)
        listed = asked.response.body.decode()
        for each in self.pool.referrers[subject]:
            if each.digest in listed:
                self.world.counts["referrers listed"] += 1
            else:
                self.missed(Key("manifest", repository, each.digest), asked)

    def _list_tags(self, repository: str) -> None:
        asked = self.ask("GET", f"/v2/{repository}/tags/list")
        self.expect(asked, 200, 404)
        listed = asked.response.body.decode() if asked.status == 200 else ""
        for tag in TAGS:
            key = Key("tag", repository, tag)
            possible = self.history.possible(key, asked.started, asked.ended)
            if (
                (f'"{tag}"' in listed)
                if possible == {None}
                else (f'"{tag}"' not in listed and None not in possible)
            ):
                self.broken(key, f"tag {tag}, which must be one of {possible}, is not listed so: {listed}")


class Deleter(Actor):
    """Deletes manifests, tags and blobs."""

    def step(self) -> None:
        repository = self.dice.choice(REPOSITORIES)
        self.dice.choices((self._delete_manifest, self._delete_tag, self._delete_blob), (5, 3, 1))[0](
            repository
        )
        self.world.over.wait(self.dice.choice((0.2, 0.5, 1.0)))

    def _delete_manifest(self, repository: str) -> None:
        digest = self.dice.choice(list(self.pool.documents))
        if self.dice.random() < 0.5:
            tag = self.dice.choice(TAGS)
            read = self.ask("HEAD", f"/v2/{repository}/manifests/{tag}", ANY_MANIFEST)
            self.expect(read, 200, 404)
            if read.status == 200:
                digest = read.response["docker-content-digest"]
        key = Key("manifest", repository, digest)
        changes = self.history.begin_deletion(time.monotonic(), repository, digest)
        self._delete(key, changes, f"/v2/{repository}/manifests/{digest}")

    def _delete_tag(self, repository: str) -> None:
        tag = self.dice.choice(TAGS)
        key = Key("tag", repository, tag)
        changes = self.history.begin(time.monotonic(), (key, None))
        asked = self._delete(key, changes, f"/v2/{repository}/manifests/{tag}")
        possible = self.history.possible(key, asked.started, asked.ended)
        if asked.status == 404 and None not in possible:
            self.broken(key, f"tag {tag} is not there, and must lead to one of {possible}")

    def _delete_blob(self, repository: str) -> None:
        digest = self.dice.choice(list(self.pool.layers))
        key = Key("blob", repository, digest)
        changes = self.history.begin(time.monotonic(), (key, None))
        self._delete(key, changes, f"/v2/{repository}/blobs/{digest}")

    def _delete(self, key: Key, changes: Changes, target: str) -> Asked:
        with self.settling(changes):
            asked = self.ask("DELETE", target)
            self.expect(asked, 202, 404)
        if asked.status == 202:
            changes.acknowledge(asked.ended)
            self.world.counts[f"{key.kind}s deleted"] += 1
        else:
            changes.refuse()
            if key.kind != "tag":
                self.missed(key, asked)
        return asked


class Mounter(Actor):
    """Has a blob mounted, or asks whether it is there, waits nearly the grace time, and looks at it again."""

    def step(self) -> None:
        repository, source = self.dice.sample(REPOSITORIES, 2)
        digest = self.dice.choice(list(self.pool.layers))
        if self.dice.random() < 0.5:
            promised = self.mount(repository, source, digest)
        else:
            promised = self.check_blob(repository, digest)
        if promised is None:
            self.world.over.wait(0.1)
            return
        late = promised + self.dice.uniform(0.3, 0.95) * self.world.grace
        self.world.over.wait(max(0.0, late - time.monotonic()))
        self.read_blob(repository, digest)
