"""What a user asks of ``tools/prepare_data.py``: its config, typed and checked.

The records are not frozen: OmegaConf fills them, which checks the types.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from oiv5_d2.acquisition.stores import Transfer, check_address, folder_of
from oiv5_d2.openimages import release
from oiv5_d2.openimages.release import RELEASES, Release
from oiv5_d2.problems import Kind, Problem, Remedy
from oiv5_d2.selection.choice import Choice


@dataclass
class Synthetic:
    """The synthetic release that is drawn where no real one is wanted."""

    num_images: dict[str, int]
    """By official split."""
    size: list[int]
    """Height and width of the pictures in pixels."""
    seed: int


@dataclass
class Data:
    """Which data are prepared, from where to where."""

    name: str
    dir: Path
    release: str
    """A key of `RELEASES`."""
    source: str | None
    """A folder or URL with ``openimages/`` and ``open-images-dataset/`` as the release's buckets;
    None: they are at `annotations` and `images`."""
    annotations: str
    """A folder, ``https://`` or ``s3://``."""
    images: str
    """A folder, ``https://`` or ``s3://``."""
    synthetic: Synthetic | None
    """Draw the source, instead of finding it; only ever inside `dir`."""
    image_ids: Path | None
    """A file with the ids of the only images that are wanted, one a line."""
    choice: Choice = field(init=False, metadata={"omegaconf_ignore": True})
    """All other settings of ``configs/data``."""

    @property
    def published(self) -> Release:
        """The release that `release` names.

        Raises:
            Problem: SETTING.
        """
        if self.release not in RELEASES:
            subject, known = f"data.release={self.release}", f"known are {', '.join(RELEASES)}"
            raise Problem(
                Kind.SETTING, subject, known, key="data.release", remedy=Remedy.CHANGE_SETTING
            )
        return RELEASES[self.release]

    @property
    def parts(self) -> list[str]:
        """The names of the parts: the splits', or those of the shares that one is cut into."""
        return list(self.choice.parts)

    @property
    def is_drawn(self) -> bool:
        """Whether the source is a synthetic release of ours. Another folder is never written to."""
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
    """What a user asks of `tools/prepare_data.py`: ``configs/prepare.yaml``, typed."""

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
    keep_zips: bool
    rate: float | None
    """Bytes a second that a plan counts with; None: as it measures."""
    transfer: Transfer
    d2: Any

    @property
    def num_workers(self) -> int:
        """The number of processes: as asked, or one a core that this process may use."""
        return len(os.sched_getaffinity(0)) if self.workers is None else self.workers

    @property
    def train_parts(self) -> list[str]:
        """The parts that are trained on, of those that are prepared."""
        names = [name.removeprefix(f"{self.data.name}_") for name in self.d2["DATASETS"]["TRAIN"]]
        return sorted(set(names) & set(self.data.parts))


def make_request(run: DictConfig) -> Request:
    """Return the composed config as a record, its types checked.

    Raises:
        OmegaConfBaseException: a key is unknown, or a value has a wrong type.
        Problem: SETTING, what is wanted of the data has no meaning.
    """
    settings = cast("dict[str, Any]", OmegaConf.to_container(run, resolve=True))
    # In the YAML image_ids is a file, which is read when it is needed.
    names = {each.name for each in fields(Choice)} - {"image_ids"}
    choice = {name: settings["data"].pop(name) for name in names & settings["data"].keys()}
    typed = OmegaConf.merge(OmegaConf.structured(Request), settings)
    request = cast("Request", OmegaConf.to_object(typed))
    request.data.choice = _read_choice(choice)
    return request


def _read_choice(settings: Mapping[str, Any]) -> Choice:
    schema = OmegaConf.structured(Choice)
    for frozen in (schema, schema.limit):
        OmegaConf.set_readonly(frozen, False)
    typed = OmegaConf.merge({"data": schema}, {"data": settings})
    return cast("dict[str, Choice]", OmegaConf.to_object(typed))["data"]


def check(request: Request) -> None:
    """Refuse what can't be done before anything is.

    Raises:
        ValueError: a setting without meaning, or an address; the message names it.
        FileNotFoundError: the source is not there; the message says what has to be.
    """
    if request.num_workers < 1:
        raise ValueError(f"workers={request.workers}: at least 1 is needed, or null for all cores")
    if not 0 <= request.max_missing <= 1:
        raise ValueError(f"max_missing={request.max_missing}: a share is from 0 to 1")
    for name in ("max_errors", "verify_sample"):
        if (number := getattr(request, name)) < 0:
            raise ValueError(f"{name}={number}: it must be 0 or more")
    if request.rate is not None and not request.rate > 0:
        raise ValueError(f"rate={request.rate:g}: it has to be above 0, or null to measure it")
    synthetic = request.data.synthetic
    if synthetic is not None and len(synthetic.size) != 2:
        raise ValueError(f"data.synthetic.size={synthetic.size}: it is height and width")
    image_ids = request.data.image_ids
    if image_ids is not None and not image_ids.is_file():
        raise FileNotFoundError(f"data.image_ids={image_ids}: there is no such file of image ids")
    _check_buckets(request.data)
    if not request.data.is_drawn:
        _check_source(request.data)


def _check_buckets(data: Data) -> None:
    """Refuse a bucket of its own beside a source that stands for both: it would not be asked."""
    for key in ("annotations", "images"):
        if data.source is not None and getattr(data, key) != getattr(data.published, key):
            raise ValueError(
                f"data.{key} is given beside data.source, which stands for both buckets: add"
                " data.source=null, or leave it out"
            )


def _check_source(data: Data) -> None:
    for location in data.buckets:
        folder = folder_of(location)
        if folder is None:
            check_address(location)
        elif not folder.is_dir():
            raise FileNotFoundError(
                f"{location}: there is no such folder. data.source is a folder or URL laid out as"
                f" the release's buckets: {release.ANNOTATIONS_DIR}/v5/"
                f"train-annotations-object-segmentation.csv ..., {release.IMAGES_DIR}/train/"
                "<ImageID>.jpg ...; without one, use data=mini, or data=traffic to download"
            )
