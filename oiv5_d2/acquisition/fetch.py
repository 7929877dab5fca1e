"""Bring the wanted pictures and masks to disk, whole or not at all, and say what is missing.

Listed files that are not there are normal in the real release: they go to the manifest with the
reason, and only too many of them stop the run. Whatever was fetched stays, so a run that was killed
goes on where it stopped.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from oiv5_d2.acquisition.images import fetch_images
from oiv5_d2.acquisition.manifest import (
    IMAGE,
    MANIFEST_CSV,
    MASK,
    KnownImages,
    ManifestWriter,
    write_manifest,
)
from oiv5_d2.acquisition.mask_zips.extraction import extract_masks, remove_unfinished
from oiv5_d2.acquisition.shards import shard_path
from oiv5_d2.acquisition.outcomes import CORRUPT, FAILED, MISSING, PRESENT, Outcome, moment
from oiv5_d2.acquisition.shortfall import refuse_too_many
from oiv5_d2.acquisition.stores import Source, Store
from oiv5_d2.acquisition.stores.downloads import ARRIVING_PREFIX
from oiv5_d2.files import PART_PREFIX
from oiv5_d2.openimages import release

# Called with the numbers of newly finished files, of bytes that came for them, and of failures.
Advance = Callable[[int, int, int], object]


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought. Counts are of wanted files."""

    num_images: int
    """Pictures that are there."""
    num_masks: int
    """Masks that are there."""
    num_missing: int
    """Files, of both kinds, that the source does not have."""
    num_corrupt: int
    """Files, of both kinds, that were refused because they are damaged."""
    num_failed: int
    """Files, of both kinds, that could not be had now."""
    num_bytes: int
    """Bytes of all files that are there."""
    manifest_path: Path
    """One row a wanted file, with the reason where it is not there."""


def fetch(
    files: pd.DataFrame,
    source: Source,
    data_dir: Path,
    *,
    max_missing: float = 0.05,
    full_decode: bool = False,
    keep_zips: bool = False,
    advance: Advance = lambda num_files, num_bytes, num_failed: None,
) -> Fetched:
    """Bring files to disk, and write ``manifest.csv``.

    A picture or mask that is already there and whole is not asked for again, whichever mirror it
    came from; a picture is if it has changed here since it was checked, or in the folder it came
    from. Nothing damaged is kept: a picture has to have a readable header and an end, a mask has to
    agree with its zip's and its own checksums.

    Args:
        files: as `selection.files.list_files` returns them, of all parts that share `data_dir`.
        source: the release's buckets.
        data_dir: pictures go to ``images/{split}/{ImageID}.jpg``, masks to
            ``masks/{split}-masks-{digit}.zip``.
        max_missing: the share that may be missing, corrupt or failed, in [0, 1], of the pictures
            and of the masks of each split.
        full_decode: read every picture that is there again, and decode all to the last pixel.
        keep_zips: keep mask zips that are fetched whole, in ``masks/original/``.
        advance: called with the numbers of newly finished files, of `files` in all, of bytes
            that came, and of files that could not be had.

    Raises:
        ValueError: more than `max_missing` of the files could not be had, or not one picture of a
            split. What could be had is there, and the manifest says what is not.
        OSError: `data_dir` can not be written.
    """
    manifest_path = data_dir / MANIFEST_CSV
    _remove_strays(files, data_dir)
    with write_manifest(manifest_path) as manifest:
        _fetch_images(files, source.images, data_dir, full_decode, advance, manifest)
        masks_dir = data_dir / "masks"
        _fetch_masks(files, source.annotations, masks_dir, keep_zips, advance, manifest)
        os.sync()  # what the manifest calls present shall be there after a power cut as well
    refuse_too_many(manifest, max_missing, manifest_path)
    return _summarise(manifest, manifest_path)


def _remove_strays(files: pd.DataFrame, data_dir: Path) -> None:
    """Remove what a killed run had not finished and nobody wants any more.

    Tables have all come by now, so what began to come and is none of them is of another choice.
    """
    patterns = [f"{folder}/{PART_PREFIX}*" for folder in ("images/*", "masks", "tables/**")]
    for pattern in (*patterns, f"tables/**/{ARRIVING_PREFIX}*"):
        for stray in data_dir.glob(pattern):
            stray.unlink()
    zips = files.loc[files["Kind"] == MASK, ["Split", "Digit"]].drop_duplicates()
    wanted = [shard_path(data_dir / "masks", *row) for row in zips.itertuples(index=False)]
    remove_unfinished(data_dir / "masks", wanted)


def _fetch_images(
    files: pd.DataFrame,
    store: Store,
    data_dir: Path,
    full_decode: bool,
    advance: Advance,
    manifest: ManifestWriter,
) -> None:
    rows = files[files["Kind"] == IMAGE]
    keys = (rows["Split"] + "/" + rows["Path"]).tolist()
    known = KnownImages(data_dir / MANIFEST_CSV)

    def note(key: str, outcome: Outcome) -> None:
        manifest.add(IMAGE, key.partition("/")[0], outcome)

    fetch_images(keys, store, data_dir / "images", known.look_up, full_decode, advance, note)


def _fetch_masks(
    files: pd.DataFrame,
    store: Store,
    masks_dir: Path,
    keep_zips: bool,
    advance: Advance,
    manifest: ManifestWriter,
) -> None:
    keep_zip_dir = kept_zips_dir(masks_dir, keep_zips)
    for (split, digit), rows in files[files["Kind"] == MASK].groupby(["Split", "Digit"]):
        path = shard_path(masks_dir, str(split), str(digit))
        names = rows["Path"].tolist()
        outcomes = extract_masks(
            store, str(split), str(digit), names, path, advance, keep_zip_dir=keep_zip_dir
        )
        zip_url = f"{store.location}/{release.mask_zip(str(split), str(digit)).path}"
        zip_when = moment(path.stat().st_mtime) if path.exists() else ""
        for outcome in outcomes:
            when = zip_when if outcome.state == PRESENT else ""
            manifest.add(MASK, str(split), outcome._replace(source=zip_url, fetched=when))


def kept_zips_dir(masks_dir: Path, keep_zips: bool) -> Path | None:
    """Return where mask zips that are fetched whole are kept; None if they are not."""
    return masks_dir / "original" if keep_zips else None


def _summarise(manifest: ManifestWriter, manifest_path: Path) -> Fetched:
    return Fetched(
        num_images=manifest.num_in(PRESENT, [IMAGE]),
        num_masks=manifest.num_in(PRESENT, [MASK]),
        num_missing=manifest.num_in(MISSING),
        num_corrupt=manifest.num_in(CORRUPT),
        num_failed=manifest.num_in(FAILED),
        num_bytes=manifest.num_bytes,
        manifest_path=manifest_path,
    )
