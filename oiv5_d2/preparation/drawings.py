"""How the masks of prepared images were drawn, out of the tables that they were selected from."""

from collections.abc import Iterable

from oiv5_d2.acquisition.tables import fetch_tables, repaired
from oiv5_d2.jobs import ignore
from oiv5_d2.openimages.clicks import Drawing, read_drawings
from oiv5_d2.preparation.settings import Request
from oiv5_d2.preparation.steps import open_tables
from oiv5_d2.problems import Kind, Problem, wrong_setting


def find_drawings(request: Request, images: Iterable[tuple[str, str]]) -> dict[str, Drawing]:
    """Return how the masks of images, given by official split and id, were drawn, by MaskPath.

    Raises:
        Problem: SETTING, ready COCO files have no clicks; ABSENT or DAMAGED, a table.
    """
    if request.data.coco is not None:
        raise wrong_setting("clicks", "true", "a ready COCO file has no clicks")
    ids_of: dict[str, list[str]] = {}
    for split, id_ in images:
        ids_of.setdefault(split, []).append(id_)
    found: dict[str, Drawing] = {}
    for split, ids in ids_of.items():
        found |= _read_split(request, split, ids)
    return found


def _read_split(request: Request, split: str, ids: list[str]) -> dict[str, Drawing]:
    bucket, tables_dir = open_tables(request)
    file = request.data.published.mask_csv(split)
    paths = fetch_tables(bucket, [file], tables_dir, ignore)
    while True:
        try:
            return read_drawings(paths[file.path], file, ids)
        except Problem as problem:
            if problem.kind is not Kind.DAMAGED:
                raise
            paths |= repaired(problem, bucket, [file], paths, tables_dir)
