"""Bring the wanted pictures and masks to disk, whole or not at all, and say what is missing.

Listed files that are not there are normal in the real release: they go to the manifest with the
reason, and only too many of them stop the run. Whatever was fetched stays, so a run that was killed
goes on where it stopped.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from oiv5_d2.dataset.checks import check_jpeg
from oiv5_d2.dataset.extraction import CORRUPT, MISSING, PRESENT, Outcome, extract_masks
from oiv5_d2.dataset.shards import shard_path
from oiv5_d2.dataset.stores import Source, Store
from oiv5_d2.dataset.subset import Subset
from oiv5_d2.openimages import release
from oiv5_d2.openimages.files import PART_PREFIX, whole_file

MANIFEST_COLUMNS = ["Kind", "Split", "Path", "State", "Reason", "Bytes"]
IMAGE, MASK = "image", "mask"
_IMAGES_AT_A_TIME = 1000  # tasks waiting for a thread: bounds memory on a million images
_NUM_SHOWN = 3


@dataclass(frozen=True)
class Fetched:
    """What `fetch` brought. Counts are of wanted files."""

    num_images: int
    """Pictures that are there."""
    num_masks: int
    """Masks that are there."""
    num_missing: int
    """Files, of both kinds, that could not be had."""
    num_corrupt: int
    """Files, of both kinds, that were refused because they are damaged."""
    num_bytes: int
    """Bytes of all files that are there."""
    manifest_path: Path
    """One row a wanted file, with the reason where it is not there."""


def list_files(subsets: Iterable[Subset]) -> pd.DataFrame:
    """Return what subsets need, each file once, sorted: Kind, Split, Path, and Digit of its zip.

    Path is a file's own name: ``<ImageID>.jpg``, or the mask's in its zip. Masks that are not
    learnt are not needed.
    """
    frames = []
    for subset in subsets:
        images = subset.images[["ImageID", "Split"]].assign(Kind=IMAGE)
        masks = subset.instances.loc[subset.instances["Ignore"] == "", ["ImageID", "MaskPath"]]
        masks = masks.merge(images[["ImageID", "Split"]], on="ImageID").assign(Kind=MASK)
        images = images.assign(Path=images["ImageID"] + ".jpg")
        frames += [images, masks.rename(columns={"MaskPath": "Path"})]
    files = pd.concat(frames, ignore_index=True)
    files = files.assign(Digit=files["ImageID"].str[0])[["Kind", "Split", "Path", "Digit"]]
    return files.drop_duplicates().sort_values(["Kind", "Split", "Path"], ignore_index=True)


def fetch(
    subsets: Iterable[Subset],
    source: Source,
    data_dir: Path,
    *,
    max_missing: float = 0.05,
    num_threads: int = 4,
    full_decode: bool = False,
    advance: Callable[[int], object] = lambda num_files: None,
) -> Fetched:
    """Bring what subsets need to disk, and write ``manifest.csv``.

    A picture or mask that is already there and whole is not asked for again. Nothing damaged is
    kept: a picture has to have a readable header and an end, a mask has to agree with its zip's
    and its own checksums.

    Args:
        subsets: all parts that share `data_dir`.
        source: the release's buckets.
        data_dir: pictures go to ``images/{split}/{ImageID}.jpg``, masks to
            ``masks/{split}-masks-{digit}.zip``.
        max_missing: the share of all files that may be missing or corrupt, in [0, 1].
        num_threads: how many pictures are read at a time.
        full_decode: decode every picture to its last pixel, those already there too.
        advance: called with the number of newly finished files, of `list_files` in all.

    Raises:
        ValueError: more than `max_missing` of the files are missing or corrupt. What could be had
            is there, and the manifest says what is not.
        OSError: `data_dir` can not be written.
    """
    files = list_files(subsets)
    manifest_path = data_dir / "manifest.csv"
    _remove_strays(data_dir)
    known = {} if full_decode else _known_sizes(manifest_path)
    fetch_one = partial(_fetch_image, source.images, data_dir / "images", full_decode, known)
    frames = [
        _fetch_images(files[files["Kind"] == IMAGE], fetch_one, num_threads, advance),
        _fetch_masks(files[files["Kind"] == MASK], source.annotations, data_dir / "masks", advance),
    ]
    manifest = pd.concat(frames, ignore_index=True)
    manifest = manifest.sort_values(MANIFEST_COLUMNS[:3], ignore_index=True)[MANIFEST_COLUMNS]
    with whole_file(manifest_path) as part_path:
        manifest.to_csv(part_path, index=False, lineterminator="\n")
    _refuse_too_many(manifest, max_missing, manifest_path)
    return _summarise(manifest, manifest_path)


def read_manifest(manifest_path: Path) -> pd.DataFrame:
    """Read what `fetch` wrote: Kind, Split, Path, State, Reason: str; Bytes: int64."""
    types = dict.fromkeys(MANIFEST_COLUMNS[:-1], "str") | {"Bytes": "int64"}
    return pd.read_csv(manifest_path, dtype=types, keep_default_na=False)


def _remove_strays(data_dir: Path) -> None:
    """Remove what a killed run had not finished; the files may not be wanted any more."""
    for pattern in (f"images/*/{PART_PREFIX}*", f"masks/{PART_PREFIX}*"):
        for stray in data_dir.glob(pattern):
            stray.unlink()


def _known_sizes(manifest_path: Path) -> dict[tuple[str, str], int]:
    """Return the bytes of each picture that an earlier run checked, by split and name."""
    if not manifest_path.exists():
        return {}
    manifest = read_manifest(manifest_path)
    rows = manifest[(manifest["Kind"] == IMAGE) & (manifest["State"] == PRESENT)]
    return dict(zip(zip(rows["Split"], rows["Path"], strict=True), rows["Bytes"], strict=True))


def _fetch_images(
    files: pd.DataFrame,
    fetch_one: Callable[[str, str], Outcome],
    num_threads: int,
    advance: Callable[[int], object],
) -> pd.DataFrame:
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(num_threads) as threads:
        for start in range(0, len(files), _IMAGES_AT_A_TIME):
            some = files.iloc[start : start + _IMAGES_AT_A_TIME]
            for outcome in threads.map(fetch_one, some["Split"], some["Path"]):
                outcomes.append(outcome)
                advance(1)
    return _as_rows(IMAGE, files["Split"].tolist(), outcomes)


def _fetch_image(
    store: Store,
    images_dir: Path,
    full_decode: bool,
    known: Mapping[tuple[str, str], int],
    split: str,
    name: str,
) -> Outcome:
    path = images_dir / split / name
    if path.exists():
        num_bytes = path.stat().st_size
        if known.get((split, name)) == num_bytes or _is_whole(path, full_decode):
            return Outcome(name, PRESENT, "", num_bytes)
    try:
        data = store.read(release.image_key(split, name.removesuffix(".jpg")))
        check_jpeg(data, full_decode)
    except FileNotFoundError:
        return Outcome(name, MISSING, "it is not in the release")
    except ValueError as error:
        return Outcome(name, CORRUPT, str(error))
    except OSError as error:
        return Outcome(name, MISSING, f"it can not be read: {error.strerror or error}")
    with whole_file(path) as part_path:
        part_path.write_bytes(data)
    return Outcome(name, PRESENT, "", len(data))


def _is_whole(path: Path, full_decode: bool) -> bool:
    try:
        check_jpeg(path.read_bytes(), full_decode)
    except ValueError:
        return False
    return True


def _fetch_masks(
    files: pd.DataFrame, store: Store, masks_dir: Path, advance: Callable[[int], object]
) -> pd.DataFrame:
    frames = [_as_rows(MASK, [], [])]
    for (split, digit), some in files.groupby(["Split", "Digit"]):
        path = shard_path(masks_dir, str(split), str(digit))
        names = some["Path"].tolist()
        outcomes = extract_masks(store, str(split), str(digit), names, path, advance)
        frames.append(_as_rows(MASK, [str(split)] * len(names), outcomes))
    return pd.concat(frames, ignore_index=True)


def _as_rows(kind: str, splits: list[str], outcomes: list[Outcome]) -> pd.DataFrame:
    rows = pd.DataFrame(outcomes, columns=["Path", "State", "Reason", "Bytes"])
    return rows.assign(Kind=kind, Split=splits)


def _refuse_too_many(manifest: pd.DataFrame, max_missing: float, manifest_path: Path) -> None:
    bad = manifest[manifest["State"] != PRESENT]
    if len(bad) <= max_missing * len(manifest):
        return
    shown = "; ".join(
        f"{row.Split}/{row.Path} ({row.State}: {row.Reason})"
        for row in bad.head(_NUM_SHOWN).itertuples()
    )
    if len(bad) > _NUM_SHOWN:
        shown += "; ..."
    raise ValueError(
        f"{len(bad)} of {len(manifest)} files ({len(bad) / len(manifest):.1%}) could not be had,"
        f" more than max_missing={max_missing:g} allows: {shown}."
        f" All are in {manifest_path}. Mend the source and run again (what was fetched stays), or"
        " raise max_missing"
    )


def _summarise(manifest: pd.DataFrame, manifest_path: Path) -> Fetched:
    present = manifest[manifest["State"] == PRESENT]
    return Fetched(
        num_images=int((present["Kind"] == IMAGE).sum()),
        num_masks=int((present["Kind"] == MASK).sum()),
        num_missing=int((manifest["State"] == MISSING).sum()),
        num_corrupt=int((manifest["State"] == CORRUPT).sum()),
        num_bytes=int(present["Bytes"].sum()),
        manifest_path=manifest_path,
    )
