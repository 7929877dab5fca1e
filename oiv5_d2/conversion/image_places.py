"""Where the images of a COCO file are: many tools write names that hold on another machine only.

A name is relative to the file's folder, or to one of those that tools make beside it. What is not
there is looked for by the last part of its name, in any case and any form of Unicode, with or
without percent signs. Two names never lead to the same file.
"""

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from os.path import isfile  # unlike pathlib's it takes any text for a name
from pathlib import Path
from urllib.parse import unquote

from oiv5_d2.files import files_below
from oiv5_d2.problems import Kind, Problem, Remedy

logger = logging.getLogger(__name__)

_BESIDE = ("images", "data")
_LONGEST_SHOWN = 200


def locate_images(path: Path, images_dir: Path | None, names: Sequence[str]) -> list[Path]:
    """Return where each image is.

    Args:
        path: the COCO file.
        images_dir: what names are relative to, and the folder to search; None for those that tools
            use.
        names: the images', as the file has them.

    Raises:
        Problem: ABSENT, with the first image that is not there.
    """
    folders = [images_dir] if images_dir else _usual_folders(path)
    plain = [name.replace("\\", "/") for name in names]
    base = next((one for one in folders if isfile(one / plain[0])), folders[0])
    found = [base / name if isfile(base / name) else None for name in plain]
    missing = {name for name, there in zip(plain, found, strict=True) if there is None}
    others = _by_last_part(folders, missing, is_deep=images_dir is not None) if missing else {}
    if absent := [name for name in plain if name in missing and name not in others]:
        where = ", ".join(str(folder) for folder in folders if folder.is_dir())
        detail = f"{len(absent)} of {len(names)} images are not there; looked for in {where}"
        remedy = Remedy.CHANGE_SETTING
        raise Problem(
            Kind.ABSENT, absent[0][:_LONGEST_SHOWN], detail, key="data.images", remedy=remedy
        )
    if others:
        name, example = next(iter(others.items()))
        what = "%s: %d images are elsewhere: %s is %s"
        logger.info(what, path, len(others), name, example)
    return [(there or others[name]).absolute() for name, there in zip(plain, found, strict=True)]


def _usual_folders(path: Path) -> list[Path]:
    """Return the folders of images that tools make: for ``instances_val.json``, ``val`` as well."""
    stem = path.name.partition(".")[0]
    part, above = stem.rpartition("_")[2], path.parent.parent
    beside = [path.parent, *(path.parent / name for name in (*_BESIDE, stem))]
    beside += [above / name for name in ("images", f"images/{part}", part, stem) if name]
    return list(dict.fromkeys(beside))


def _by_last_part(
    folders: Iterable[Path], names: Collection[str], *, is_deep: bool
) -> Mapping[str, Path]:
    """Return where the images of these names are, if the last part of each leads to one file.

    Args:
        folders: where to look.
        names: the images', with ``/`` between parts.
        is_deep: whether to look in the folders below as well.
    """
    wanted = defaultdict(list)
    for name in names:
        wanted[_last_part(name)].append(name)
    found = defaultdict(set)
    for path in (path for folder in folders for path in files_below(folder, is_deep=is_deep)):
        if (key := _last_part(path.name)) in wanted:
            found[key].add(path)
    clear = {key: paths.pop() for key, paths in found.items() if len(paths) == 1}
    return {wanted[key][0]: path for key, path in clear.items() if len(wanted[key]) == 1}


def _last_part(name: str) -> str:
    return unicodedata.normalize("NFC", unquote(name.rpartition("/")[2])).casefold()
