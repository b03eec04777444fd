"""The table of routes: which function answers which operation, over one store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cargohold.app.keeping import immutable_tags
from cargohold.registry.blobs import Blobs
from cargohold.registry.catalog import Catalog
from cargohold.registry.manifests import Manifests
from cargohold.registry.referrers import Referrers
from cargohold.registry.tags import Tags
from cargohold.registry.uploads import Uploads
from cargohold.routes.base import check_support
from cargohold.routes.blobs import BlobRoutes
from cargohold.routes.bodies import LONGEST_SECONDS, Bodies
from cargohold.routes.catalog import CatalogRoutes
from cargohold.routes.health import HealthRoutes
from cargohold.routes.manifests import ManifestRoutes
from cargohold.routes.referrers import ReferrerRoutes
from cargohold.routes.tags import TagRoutes
from cargohold.routes.uploads import UploadRoutes
from cargohold.types import operations as ops

if TYPE_CHECKING:
    from cargohold.config import Settings
    from cargohold.http.middleware import Route
    from cargohold.registry.pulls import Pulls
    from cargohold.registry.readiness import Readiness
    from cargohold.storage.protocols import Store


def routes(
    settings: Settings, store: Store, readiness: Readiness, pulls: Pulls | None = None
) -> dict[type[ops.Operation], Route]:
    """The route of each operation, those of the token service apart. Where there are `pulls`, they are noted."""
    blobs, prefix = Blobs(store), settings.prefix
    of_manifests, of_health = _manifest_routes(settings, store, pulls), HealthRoutes(readiness)
    of_blobs, of_uploads = BlobRoutes(blobs), UploadRoutes(Uploads(store), blobs, prefix=prefix)
    tags = Tags(store, max_page=settings.lists.max_page)
    catalog = Catalog(store, default_page=settings.lists.default_page, max_page=settings.lists.max_page)
    return {
        ops.CheckSupport: check_support,
        ops.CheckHealth: of_health.check_health,
        ops.CheckReady: of_health.check_ready,
        ops.PullManifest: of_manifests.pull,
        ops.PushManifest: of_manifests.push,
        ops.DeleteManifest: of_manifests.delete,
        ops.PullBlob: of_blobs.pull,
        ops.DeleteBlob: of_blobs.delete,
        ops.StartUpload: of_uploads.start,
        ops.MountBlob: of_uploads.mount,
        ops.CheckUpload: of_uploads.check,
        ops.AppendUpload: of_uploads.append,
        ops.FinishUpload: of_uploads.finish,
        ops.CancelUpload: of_uploads.cancel,
        ops.ListTags: TagRoutes(tags, prefix=prefix).list,
        ops.ListRepositories: CatalogRoutes(catalog, prefix=prefix).list,
        ops.ListReferrers: ReferrerRoutes(Referrers(store), prefix=prefix).list,
    }


def manifests_of(settings: Settings, store: Store, pulls: Pulls | None = None) -> Manifests:
    """The manifests of a store, as the settings want them pushed."""
    return Manifests(
        store,
        allow_sparse=settings.manifests.allow_sparse,
        allow_tag_deletion=settings.manifests.allow_tag_deletion,
        immutable=immutable_tags(settings),
        pulls=pulls,
    )


def _manifest_routes(settings: Settings, store: Store, pulls: Pulls | None) -> ManifestRoutes:
    manifests = manifests_of(settings, store, pulls)
    seconds = max(LONGEST_SECONDS, 2 * settings.uploads.stall_timeout)
    bodies = Bodies(settings.manifests.max_bytes, seconds=seconds)
    return ManifestRoutes(manifests, bodies, prefix=settings.prefix)
