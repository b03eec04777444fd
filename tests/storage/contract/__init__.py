"""The contract of `cargohold.storage.protocols`, each of its rules a test that every store runs.

A store's own test file has one class, which inherits `StoreContract` and says how the store is opened.
"""

from .base import Pair
from .blob_races import BlobRaceContract
from .blobs import BlobContract
from .fixed_tags import FixedTagContract
from .inventory import InventoryContract
from .lists import ListContract
from .manifest_races import ManifestRaceContract
from .manifests import ManifestContract, ReferrerContract
from .model import ModelContract
from .quotas import QuotaContract
from .trash import TrashContract
from .trials import TrialContract
from .uploads import UploadContract

__all__ = ["Pair", "StoreContract"]


class StoreContract(
    BlobContract,
    UploadContract,
    ManifestContract,
    ReferrerContract,
    FixedTagContract,
    ListContract,
    TrashContract,
    TrialContract,
    InventoryContract,
    BlobRaceContract,
    ManifestRaceContract,
    QuotaContract,
    ModelContract,
):
    """All of it."""
