"""Where the files of a release are in a folder of one's own, which need not be laid out as it is.

The release's own place comes first. Otherwise a table is found by its name, wherever it is and if
compressed as well, and an image by its id: in one folder, as the official downloader leaves them,
in ``train/data``, in a folder for each class, as ``.JPG`` or ``.jpeg``, in ``val`` for validation.
"""

import logging
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from oiv5_d2.files import files_below
from oiv5_d2.openimages.release import SPLITS, ReleaseFile
from oiv5_d2.problems import Kind, Problem, Remedy

logger = logging.getLogger(__name__)

_COMPRESSED = ".gz"
_PACKED = (".zip", ".bz2", ".xz", ".zst", ".7z", ".tar", ".rar")  # not read
_ARCHIVES = {".zip", *_PACKED, ".tgz", _COMPRESSED}
# What V6 and V7 put before a name, and browsers and file managers after it.
_RENAMED = re.compile(r"^oidv\d-| ?\(\d+\)(?=\.)| - Copy(?=\.)")
_JPEG = {".jpg", ".jpeg", ".jpe", ".jfif"}
_OTHER_IMAGES = {".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic"}
_PNG, _ZIP = ".png", ".zip"
_ID = re.compile(r"[0-9a-f]{16}")
_SPLIT_OF = {**{split: split for split in SPLITS}, "val": "validation", "valid": "validation"}


def find_tables(folder: Path, files: Iterable[ReleaseFile]) -> dict[str, Path]:
    """Return where each table is, by its path in the release.

    Raises:
        Problem: ABSENT, or several files of the name are there.
    """
    found, elsewhere = {}, None
    for file in files:
        path = folder / file.path
        if not path.is_file():
            elsewhere = elsewhere or _by_name(folder)
            path = _only_one(path, elsewhere)
        found[file.path] = path
    return found


def _by_name(folder: Path) -> Mapping[str, list[Path]]:
    """Return the tables below a folder, by name without the ending of a compressed one."""
    found = defaultdict(list)
    for path in _files(folder, {".csv", ".json", _COMPRESSED}):
        found[_RENAMED.sub("", path.name.removesuffix(_COMPRESSED))].append(path)
    return found


def _only_one(path: Path, elsewhere: Mapping[str, list[Path]]) -> Path:
    paths = elsewhere.get(path.name, [])
    if len(paths) == 1:
        return paths[0]
    packed = [f"{path.name}{ending}" for ending in _PACKED if Path(f"{path}{ending}").exists()]
    detail = f"a release's table; nor is there a {path.name}{_COMPRESSED}"
    if packed:
        detail = f"{packed[0]} is there: unpack it, or pack it with gzip"
    if paths:
        detail = f"several are elsewhere: {', '.join(map(str, paths))}"
    raise Problem(Kind.ABSENT, path, detail, key="data.source", remedy=Remedy.LAY_OUT_SOURCE)


def find_images(folder: Path, files: pd.DataFrame) -> pd.Series:
    """Return the key of each image below a folder, as it is there.

    Args:
        folder: of the images.
        files: images, with Split and Key, as `selection.subset.list_files` returns them.

    Returns:
        (N,) str: the release's key where it is there or nothing of the id is.
    """
    absent = [not (folder / key).is_file() for key in files["Key"]]
    if not any(absent):
        return files["Key"]
    places = _images_by_id(folder)
    keys = files["Key"].copy()
    for index, split, key in files.loc[absent, ["Split", "Key"]].itertuples(name=None):
        id_ = Path(key).stem
        keys[index] = places.get((split, id_)) or places.get(("", id_)) or key
    num_found = int((keys != files["Key"]).sum())
    if num_found:
        example = keys[keys != files["Key"]].iloc[0]
        logger.info("%d images are elsewhere in %s, such as %s", num_found, folder, example)
    missing = {Path(key).stem for key in keys if not (folder / key).is_file()}
    if missing:
        _tell_of_others(folder, missing, places.values())
    return keys


def _tell_of_others(folder: Path, missing: Collection[str], keys: Iterable[str]) -> None:
    """Say what may be the missing images: named otherwise, of another format, in an archive.

    Args:
        folder: of the images.
        missing: their ids.
        keys: of the JPEGs that are there.
    """
    named = (key for key in keys if any(i in missing for i in _ID.findall(Path(key).stem.lower())))
    if key := next(named, None):
        what = "%d images are not there under their id, or not in their split's folder, but %s is"
        logger.warning(what, len(missing), folder / key)
    others = [path for path in _files(folder, _OTHER_IMAGES) if path.stem.lower() in missing]
    if others:
        what = "%d images are there, but not as JPEG, such as %s: convert them to JPEG"
        logger.warning(what, len(others), others[0])
    if archive := next(_files(folder, _ARCHIVES), None):
        what = "%d images are not there, but %s is: unpack it, if they are in it"
        logger.warning(what, len(missing), archive)


def _images_by_id(folder: Path) -> dict[tuple[str, str], str]:
    """Return images' keys by split, "" where the path names none, and id in small letters."""
    found: dict[tuple[str, str], str] = {}
    for path in _files(folder, _JPEG):
        key = path.relative_to(folder)
        named = [_SPLIT_OF[name.lower()] for name in key.parts[:-1] if name.lower() in _SPLIT_OF]
        found.setdefault((named[0] if named else "", path.stem.lower()), str(key))
    return found


class MaskPlace(NamedTuple):
    """Where the masks of a zip are."""

    zip_key: str
    """The zip, below the folder; it need not be there."""
    unpacked: dict[str, Path]
    """Masks that somebody unpacked, by name; none if the zip is there."""


def find_masks(folder: Path, zip_key: str, wanted: Collection[str]) -> MaskPlace:
    """Return where masks are: in their zip, or unpacked from it.

    The zip may be anywhere below the folder, or another one that has its masks. Unpacked masks are
    beside where it would be, in a folder of its name, or in any other folder.

    Args:
        folder: of the annotations.
        zip_key: the zip's, as in the release.
        wanted: names of mask files.
    """
    if (folder / zip_key).is_file():
        return MaskPlace(zip_key, {})
    where, names = (folder / zip_key).parent, set(wanted)
    own = where / Path(zip_key).stem
    found = {name: path / name for path in (own, where) for name in names if (path / name).exists()}
    zips = []
    if len(found) < len(names):  # so that a folder of a million masks is seldom listed
        for path in _files(folder, {_PNG, _ZIP}):
            if path.suffix.lower() == _ZIP:
                zips.append(path)
            elif (name := mask_name(path.name)) in names:
                found.setdefault(name, path)
    named = Path(zip_key).name
    zips.sort(key=lambda path: path.name != named)
    for path in zips if not found else ():
        if path.name == named or _has_any(path, names):
            return MaskPlace(str(path.relative_to(folder)), {})
    return MaskPlace(zip_key, {name: found[name] for name in wanted if name in found})


def _has_any(path: Path, names: Collection[str]) -> bool:
    """Return True if a zip has one of these masks; a damaged one has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(mask_name(entry) in names for entry in archive.namelist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return False


def other_format(paths: Iterable[str], wanted: Collection[str]) -> str:
    """Return the first path of a mask that is there, but not as PNG; "" if there is none.

    Args:
        paths: of files, or of the entries of a zip.
        wanted: names of mask files.
    """
    stems = {name.removesuffix(_PNG) for name in wanted}
    others = (os.path.splitext(path) for path in paths)
    found = (stem + end for stem, end in others if stem.rpartition("/")[2] in stems)
    return next((path for path in found if not path.lower().endswith(_PNG)), "")


def unusable_masks(folder: Path, zip_key: str, wanted: Collection[str]) -> tuple[Kind, str]:
    """Return what is wrong with masks that `find_masks` does not find, and the facts.

    Args:
        folder: of the annotations.
        zip_key: of the zip that is not there.
        wanted: names of its masks.
    """
    if other := other_format(map(str, _files(folder, _JPEG | _OTHER_IMAGES)), wanted):
        return Kind.MISMATCH, f"not PNG: {other}"
    stem = Path(zip_key).stem
    for path in _files(folder, _ARCHIVES):
        if path.name.startswith(f"{stem}."):
            return Kind.ABSENT, f"{path} is there: unpack it"
    return Kind.ABSENT, f"neither the zip nor a mask of it is in {folder}"


def mask_name(path: str) -> str:
    """Return the name of a mask, in the release's way, of a file in any folder of a zip or disk."""
    name = path.replace("\\", "/").rpartition("/")[2]  # as old programs on Windows pack them
    return f"{name[:-4]}{_PNG}" if name[-4:].lower() == _PNG else name


def _files(folder: Path, endings: Collection[str]) -> Iterator[Path]:
    """Yield the files below a folder with one of these endings, in small letters, by path."""
    return (path for path in files_below(folder) if path.suffix.lower() in endings)
