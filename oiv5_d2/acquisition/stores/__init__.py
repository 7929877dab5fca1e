"""Where a release's files are read from: a folder, or a server over HTTP."""

from oiv5_d2.acquisition.stores.addresses import check_address
from oiv5_d2.acquisition.stores.folder import FolderStore
from oiv5_d2.acquisition.stores.http import HttpStore
from oiv5_d2.acquisition.stores.locations import folder_of, is_remote, open_source, open_store
from oiv5_d2.acquisition.stores.store import (
    Answer,
    ChangedError,
    Check,
    DamagedError,
    Get,
    Head,
    NoRangesError,
    Source,
    Store,
    StoreError,
    UnreachableError,
)
from oiv5_d2.acquisition.stores.transfer import Transfer

__all__ = [
    "Answer",
    "ChangedError",
    "Check",
    "DamagedError",
    "FolderStore",
    "Get",
    "Head",
    "HttpStore",
    "NoRangesError",
    "Source",
    "Store",
    "StoreError",
    "Transfer",
    "UnreachableError",
    "check_address",
    "folder_of",
    "is_remote",
    "open_source",
    "open_store",
]
