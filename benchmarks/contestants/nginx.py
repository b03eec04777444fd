"""nginx with the same bytes as static files: no registry, but the measure of what a server of files can do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.content import MANIFEST_TYPE, REPOSITORY, TAG
from benchmarks.contestants.contestant import Contestant, program, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.content import Blob
    from benchmarks.processes import Server

_SETTINGS = """
daemon off;
worker_processes 2;
error_log stderr error;
pid {folder}/pid;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} reuseport;
        root {folder}/data;
        location ~ /manifests/ {{ default_type {manifest_type}; }}
    }}
}}
"""


class Nginx(Contestant):
    """`nginx` on the PATH, or NGINX_BINARY: two workers, sendfile, no log."""

    name = "nginx"
    takes_uploads = False

    @classmethod
    def find(cls) -> str | None:
        """The path of its program, None where it is not installed."""
        return program("nginx", "NGINX_BINARY")

    def version(self) -> str:
        """Its version, for the report."""
        return version_of(self.program, "-v")

    def command(self, folder: str, port: int) -> list[str]:
        """Prepare the folder and say what to run."""
        settings = _SETTINGS.format(folder=folder, port=port, manifest_type=MANIFEST_TYPE)
        user = (
            "user root;\n" if os.geteuid() == 0 else ""
        )  # its workers must read the folder, as the others do
        with open(f"{folder}/nginx.conf", "w", encoding="utf-8") as file:
            file.write(user + settings)
        return [self.program, "-p", folder, "-e", "stderr", "-c", f"{folder}/nginx.conf"]

    def publish(self, server: Server, blobs: Sequence[Blob], manifest: bytes) -> None:
        """Write the files that the addresses name."""
        repository = f"{server.folder}/data/v2/{REPOSITORY}"
        os.makedirs(f"{repository}/blobs")
        os.makedirs(f"{repository}/manifests")
        for blob in blobs:
            blob.write_to(f"{repository}/blobs/{blob.digest}")
        with open(f"{repository}/manifests/{TAG}", "wb") as file:
            file.write(manifest)
