"""The settings of ``tools/prepare_data.py``: ``configs/prepare.yaml``, typed and checked.

The records are not frozen: OmegaConf fills them, which checks the types.
"""

import os
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from oiv5_d2.acquisition.buckets import Bucket
from oiv5_d2.acquisition.transfer import Transfer, check_address, folder_of
from oiv5_d2.conversion.outlines import Outlines
from oiv5_d2.openimages import release
from oiv5_d2.openimages.release import RELEASES, Release
from oiv5_d2.problems import Kind, Problem, Remedy, wrong_setting
from oiv5_d2.selection.choice import Choice
from oiv5_d2.synthetic import Rates

_SHOWN = 5  # names of a folder, in an error
# How to name two folders of any names.
_BY_TWO = "data.source data.source=null data.annotations=<folder> data.images=<folder>"
_REQUIRED = {
    "source": "a folder or URL that holds the release",
    "name": "a name for the data set",
    "train": "a COCO file",
    "validation": "a COCO file, or cut data.train by data.shares={train: 0.8, validation: 0.2}",
    "classes": "names of the COCO file's categories",
}  # of `data`: no default makes sense


@dataclass
class Synthetic:
    """The synthetic release that is drawn as the source."""

    num_images: dict[str, int]
    """By official split."""
    size: list[int]
    """Height and width of the images in pixels."""
    seed: int
    partial: Rates | None = None
    """How much of its train split is annotated; None for all."""


@dataclass
class Data:
    """Which data set is prepared, from which source, in which folder."""

    name: str
    dir: Path
    release: str
    """A key of `RELEASES`."""
    source: str | None
    """A folder or URL with ``openimages/`` and ``open-images-dataset/`` as the release's buckets;
    None: they are at `annotations` and `images`."""
    annotations: str
    """A bucket, see `acquisition.buckets.Bucket`."""
    images: str
    """A bucket, see `acquisition.buckets.Bucket`."""
    packed: str | None
    """A bucket that has the prepared data, its images packed: they are read from there."""
    synthetic: Synthetic | None
    """Draw the source instead of reading one; only ever inside `dir`."""
    image_ids: Path | None
    """A file with the ids of the only images to use, one a line."""
    coco: dict[str, Path] | None
    """Ready COCO files by part, in place of a release."""
    image_folder: Path | None
    """Of the ready COCO files' images; None to look for it beside them."""
    choice: Choice = field(init=False, metadata={"omegaconf_ignore": True})
    """All other settings of ``configs/data``, but for those of `outlines`."""
    outlines: Outlines = field(init=False, metadata={"omegaconf_ignore": True})

    @property
    def published(self) -> Release:
        """The release that `release` names.

        Raises:
            Problem: SETTING.
        """
        if self.release not in RELEASES:
            raise wrong_setting("data.release", self.release, f"known are {', '.join(RELEASES)}")
        return RELEASES[self.release]

    @property
    def parts(self) -> list[str]:
        """The names of the parts: the splits', or those of the shares that one is cut into."""
        return list(self.coco or self.choice.parts)

    @property
    def is_made_here(self) -> bool:
        """Whether the COCO files are made of a release."""
        return self.coco is None and self.packed is None

    @property
    def is_drawn(self) -> bool:
        """Whether the source is a synthetic release of ours. Nothing else is ever drawn over."""
        return (
            self.synthetic is not None
            and self.source is not None
            and Path(self.source).is_relative_to(self.dir)
        )

    @property
    def buckets(self) -> tuple[str, str]:
        """The locations of the annotations and of the images."""
        if self.source is None:
            return self.annotations, self.images
        base = self.source.rstrip("/")
        return f"{base}/{release.ANNOTATIONS_DIR}", f"{base}/{release.IMAGES_DIR}"


@dataclass
class Request:
    """What a user asks of ``tools/prepare_data.py``."""

    data: Data
    plan: bool
    force: bool
    retry_failed: bool
    show_audit: bool
    workers: int | None
    max_missing: float
    max_errors: int
    full_decode: bool
    verify_sample: int
    pack: bool
    shard_mb: int
    d2: Any
    transfer: Transfer

    @property
    def num_workers(self) -> int:
        """The number of processes: as given, or one for each core that this process may use."""
        return len(os.sched_getaffinity(0)) if self.workers is None else self.workers

    @property
    def train_parts(self) -> list[str]:
        """The parts that are trained on, of those that are prepared."""
        names = [name.removeprefix(f"{self.data.name}_") for name in self.d2["DATASETS"]["TRAIN"]]
        return sorted(set(names) & set(self.data.parts))

    def open_source(self) -> tuple[Bucket, Bucket]:
        """Open the release's two buckets, of annotations and of images."""
        annotations, images = self.data.buckets
        return Bucket(annotations, self.transfer), Bucket(images, self.transfer)


def read_request(run: DictConfig) -> Request:
    """Return the composed config as a record, typed and checked.

    Raises:
        Problem: SETTING, a value is missing, has a wrong type, or has no meaning; ABSENT, a folder
            or file that it names.
    """
    is_cut = OmegaConf.is_dict(run.data.shares)  # then one COCO file is enough
    for key, what in _REQUIRED.items():
        if OmegaConf.is_missing(run.data, key) and not (is_cut and key == "validation"):
            raise wrong_setting(f"data.{key}", "???", f"give {what}")
    settings = cast("dict[str, Any]", OmegaConf.to_container(run, resolve=True))
    settings["data"] |= _coco_files(settings["data"])
    # In the YAML image_ids is a file, which is read when it is needed.
    names = {each.name for each in fields(Choice)} - {"image_ids"}
    choice = {name: settings["data"].pop(name) for name in names & settings["data"].keys()}
    outlines = {each.name: settings["data"].pop(each.name) for each in fields(Outlines)}
    try:
        typed = OmegaConf.merge(OmegaConf.structured(Request), settings)
        request = cast("Request", OmegaConf.to_object(typed))
        request.data.choice = _read_choice(choice)
        request.data.outlines = Outlines(**outlines)
    except OmegaConfBaseException as error:
        key = error.full_key or ""
        value = OmegaConf.select(run, key)
        raise wrong_setting(key, value, str(error).splitlines()[0]) from error
    _expand(request.data)
    _check(request)
    return request


def _coco_files(data: dict[str, Any]) -> dict[str, Any]:
    """Take the keys of ``data=coco`` out of the settings; return them as `Data` has them."""
    if "train" not in data:
        return {"coco": None, "image_folder": None}
    given = {part: data.pop(part) for part in release.SPLITS}
    if isinstance(shares := data["shares"], dict):
        given = _cut_file(given, shares)
        data["splits"] = ["train"]  # the one that is cut
    folder, data["images"] = data["images"], release.V5.images
    return {"coco": {part: path for part, path in given.items() if path}, "image_folder": folder}


def _cut_file(given: dict[str, Any], shares: dict[str, Any]) -> dict[str, Any]:
    """Return the file of each part, the one to train on, which `shares` cut."""
    others = [part for part, path in given.items() if part != "train" and path not in (None, "???")]
    if others:
        detail = f"it cuts data.train, but there is data.{others[0]}, too"
        raise wrong_setting("data.shares", shares, detail, change=f"data.{others[0]} data.shares")
    return dict.fromkeys(shares, given["train"])


def _expand(data: Data) -> None:
    """Let ``~`` be the user's folder, which a shell leaves as it is after ``data.source=``."""
    data.dir = data.dir.expanduser()
    data.image_ids = data.image_ids and data.image_ids.expanduser()
    data.image_folder = data.image_folder and data.image_folder.expanduser()
    data.coco = data.coco and {part: path.expanduser() for part, path in data.coco.items()}
    data.source = os.path.expanduser(data.source) if data.source else None


def _read_choice(settings: dict[str, Any]) -> Choice:
    """Return the frozen record, its types checked; OmegaConf would not let its fields be set."""
    schema = OmegaConf.structured(Choice)
    for node in (schema, schema.limit):
        OmegaConf.set_readonly(node, False)
    typed = OmegaConf.merge({"data": schema}, {"data": settings})
    return cast("dict[str, Choice]", OmegaConf.to_object(typed))["data"]


def _check(request: Request) -> None:
    data = request.data
    if request.num_workers < 1:
        raise wrong_setting("workers", request.workers, "at least 1, or null for all cores")
    if not 0 <= request.max_missing <= 1:
        raise wrong_setting("max_missing", request.max_missing, "a share from 0 to 1")
    if not re.fullmatch(r"\w[\w.-]*", data.name):
        raise wrong_setting("data.name", repr(data.name), "letters, digits, '_', '-' and '.'")
    if request.shard_mb < 1:
        raise wrong_setting("shard_mb", request.shard_mb, "at least 1")
    for name in ("max_errors", "verify_sample"):
        if (number := getattr(request, name)) < 0:
            raise wrong_setting(name, number, "0 or more")
    if data.synthetic is not None and len(data.synthetic.size) != 2:
        raise wrong_setting("data.synthetic.size", data.synthetic.size, "height and width")
    if data.image_ids is not None and not data.image_ids.is_file():
        raise Problem(
            Kind.ABSENT, data.image_ids, key="data.image_ids", remedy=Remedy.CHANGE_SETTING
        )
    if data.packed is not None:
        if request.pack:
            raise wrong_setting("pack", "true", "data.packed has them packed already")
        _check_bucket(data.packed)
        return
    if data.coco is not None:
        _check_coco(data)
        return
    for key in ("annotations", "images"):
        if data.source is not None and getattr(data, key) != getattr(data.published, key):
            detail = "data.source stands for both buckets; give one or the other"
            raise wrong_setting(f"data.{key}", getattr(data, key), detail)
    if not data.is_drawn:
        for location in data.buckets:
            _check_bucket(location)


def _check_coco(data: Data) -> None:
    for part, path in (data.coco or {}).items():
        if not path.is_file():
            key, remedy = f"data.{part}", Remedy.CHANGE_SETTING
            raise Problem(Kind.ABSENT, path, key=key, remedy=remedy)
    if not data.choice.classes:
        raise wrong_setting("data.classes", "[]", "give names of the file's categories")
    _refuse_unused(data)


def _refuse_unused(data: Data) -> None:
    """Refuse what chooses images or objects of a release, beside a ready COCO file."""
    choice = data.choice
    splits = ("train",) if choice.shares else release.SPLITS
    plain = Choice(choice.classes, splits=splits, shares=choice.shares, seed=choice.seed).settings()
    for name, value in (choice.settings() | {"image_ids": data.image_ids}).items():
        if value != plain[name]:
            raise wrong_setting(f"data.{name}", value, "it has no effect on a ready COCO file")


def _check_bucket(location: str) -> None:
    folder = folder_of(location)
    if folder is None:
        check_address(location)
    elif not folder.is_dir():
        detail, remedy = _near(folder.parent), Remedy.LAY_OUT_SOURCE
        keys = _BY_TWO if folder.parent.is_dir() else "data.source"
        raise Problem(Kind.ABSENT, location, detail, key=keys, remedy=remedy)


def _near(source: Path) -> str:
    """Return what is in a folder that has no release's folders, or where these are near it."""
    if not source.is_dir():
        return f"nor does {source}"
    inside = sorted(path for path in source.iterdir() if not path.name.startswith("."))
    for place in (source.parent, *inside):
        if all((place / name).is_dir() for name in (release.ANNOTATIONS_DIR, release.IMAGES_DIR)):
            return f"both folders are in {place}, give data.source={place}"
    names = [path.name for path in inside[:_SHOWN]]
    return f"{source} has {', '.join(names) or 'nothing'}{', ...' * (len(inside) > _SHOWN)}"
