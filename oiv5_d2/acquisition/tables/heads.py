"""Lengths and ETags of a server's files, each asked for once."""

from oiv5_d2.acquisition.stores import Head, Store, StoreError, UnreachableError


class Heads:
    """What a server tells of its files.

    Each is asked for once, even if in vain; once there was no answer at all, none is asked for any
    more. A file that is refused says nothing of the others.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: dict[str, Head | StoreError] = {}
        self._unreachable: UnreachableError | None = None

    def of(self, key: str) -> Head:
        """Return a file's; see `Store.head`."""
        if key not in self._told:
            self._told[key] = self._unreachable or self._ask(key)
        head = self._told[key]
        if isinstance(head, StoreError):
            raise head
        return head

    def will_ask(self, key: str) -> bool:
        """Tell whether `of` would ask the server."""
        return key not in self._told and self._unreachable is None

    def note(self, key: str, head: Head) -> None:
        """Take what was told of a file elsewhere."""
        self._told[key] = head

    def forget(self, key: str) -> None:
        """Ask for a file's again the next time."""
        self._told.pop(key, None)

    def _ask(self, key: str) -> Head | StoreError:
        try:
            return self._store.head(key)
        except UnreachableError as error:
            self._unreachable = error
            return error
        except StoreError as error:
            return error
