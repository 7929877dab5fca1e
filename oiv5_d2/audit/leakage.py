"""Images that are in more than one part: a model must not have seen what it is evaluated on."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oiv5_d2.audit.measure import ImageFile

Place = tuple[str, str]  # part, ImageID


def find_leaks(files: Mapping[str, Sequence[ImageFile]]) -> dict[str, list[Any]]:
    """Return the images that parts share, and copies inside a part; JSON-ready and sorted.

    Args:
        files: the image files of each part.

    Returns:
        groups of [part, ImageID]: ``same_id`` in several parts; ``same_bytes``, files that
        are equal byte for byte under other ids in several parts; ``copies``, the same inside one
        part.
    """
    places = [(part, file) for part, some in files.items() for file in some]
    by_id = _grouped((file.open_images_id, (part, file.open_images_id)) for part, file in places)
    by_content = _grouped(
        (file.sha256, (part, file.open_images_id)) for part, file in places if file.sha256
    )
    equal = [group for group in by_content if len({id_ for _, id_ in group}) > 1]
    return {
        "same_id": by_id,
        "same_bytes": [group for group in equal if _num_parts(group) > 1],
        "copies": [group for group in equal if _num_parts(group) == 1],
    }


def _grouped(keyed: Iterable[tuple[str, Place]]) -> list[list[Place]]:
    """Return the sorted groups of two and more that have one key."""
    groups: dict[str, set[Place]] = {}
    for key, place in keyed:
        groups.setdefault(key, set()).add(place)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def _num_parts(group: Sequence[Place]) -> int:
    return len({part for part, _ in group})
