"""Pictures that are in more than one part: what a model is judged on it must not have seen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oiv5_d2.audit.measure import SeenPicture

Place = tuple[str, str]  # part, ImageID


def find_leaks(pictures: Mapping[str, Sequence[SeenPicture]]) -> dict[str, list[Any]]:
    """Return what parts share, and copies inside a part; JSON-ready and sorted.

    Args:
        pictures: of each part.

    Returns:
        groups of [part, ImageID]: ``same_image_id`` in several parts; ``same_bytes``, files that
        are equal byte for byte under other ids in several parts; ``copies``, the same inside one
        part.
    """
    places = [(part, picture) for part, some in pictures.items() for picture in some]
    by_id = _grouped((picture.image_id, (part, picture.image_id)) for part, picture in places)
    by_content = _grouped(
        (picture.sha256, (part, picture.image_id)) for part, picture in places if picture.sha256
    )
    equal = [group for group in by_content if len({image_id for _, image_id in group}) > 1]
    return {
        "same_image_id": by_id,
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
