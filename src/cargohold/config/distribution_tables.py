"""What the configuration of a CNCF Distribution registry may hold that has no setting of ours to go to."""

from __future__ import annotations

from typing import Final

NEEDLESS: Final = {
    "version": "",
    "auth.none": "",
    "compatibility": "manifests of schema 1 are served as they are, and never taken",
    "http.h2c": "",
    "http.http2": "",
    "http.net": "",
    "http.relativeurls": "Location is always a path",
    "http.secret": "upload sessions need no secret, whichever process takes them up",
    "health.storagedriver": "/health/ready tries the storage whenever it is asked",
    "log.reportcaller": "each line says which part of the program wrote it",
    "redis": "nothing is kept outside of the program and its storage",
    "storage.cache": "what is asked for often is kept in memory without it",
    "storage.filesystem.maxthreads": "the number of threads follows what is asked for",
    "storage.maintenance.uploadpurging.interval": "sessions that are too old are looked for all the time",
    "storage.redirect": "content is never fetched from elsewhere",
    "storage.tag": "tags are looked up without it",
}
"""What is needed there alone, and why not here; nothing is said of what says nothing to anybody."""

LEFT_OUT: Final = {
    "auth.silly": "it asked for a login and let everybody in",
    "health.file": "/health/ready speaks of the storage alone: watch files by other means",
    "health.http": "/health/ready speaks of the storage alone: watch other servers by other means",
    "health.tcp": "/health/ready speaks of the storage alone: watch other servers by other means",
    "http.debug.addr": "health and metrics are at /health, /health/ready and /metrics of the registry's own address",
    "http.tls.ciphersuites": "suites cannot be chosen: those of TLS 1.3, and of TLS 1.2 the ones with forward secrecy",
    "http.tls.letsencrypt": "certificates are taken from files, and again when these change: let certbot or another"
    " client write them, and name them in tls.certificate and tls.key",
    "log.fields": "add fields where logs are collected",
    "log.hooks": "let what collects the logs send mails",
    "middleware": "there is none: content is served from the storage itself",
    "notifications": "no notifications are sent: follow the log of requests, which has every push and pull",
    "policy": "classes of repositories are not told apart",
    "proxy": "cargohold is no pull-through cache, and what is not pushed to it is not there: keep the old server for"
    " that, with a storage of its own",
    "validation.manifests.urls": "layers that stand elsewhere are taken whatever their URLs are",
    "validation.manifests.indexes.platformlist": "an index needs all of its manifests, or none where"
    " manifests.allow_sparse is set",
}
"""What cannot be carried over, and what to do instead."""

OTHER_STORAGE: Final = (
    "content is kept in a directory: name it in storage.path, and copy what is there from the old server while it runs,"
    " for example with skopeo sync"
)
"""Of storage that is no file system."""

ALGORITHMS_THERE: Final = ("EdDSA", "RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512")
"""Of those by which its tokens may be signed, the ones that verify with public keys here too."""
