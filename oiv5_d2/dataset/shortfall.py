"""When too many files could not be had: pictures and masks apart, and each split apart."""

from pathlib import Path

from oiv5_d2.dataset.manifest import IMAGE, ManifestWriter
from oiv5_d2.dataset.outcomes import PRESENT


def refuse_too_many(manifest: ManifestWriter, max_missing: float, path: Path) -> None:
    """Raise if more files of a kind and a split than allowed could not be had.

    Masks are several times the pictures: counted together, they would hide the pictures' loss. A
    split that has lost every picture is refused whatever is allowed.

    Args:
        manifest: with all rows.
        max_missing: the share that may be missing, corrupt or failed, in [0, 1].
        path: where the manifest lies.

    Raises:
        ValueError: there are more; the message has kind and split, some of them and the remedy.
    """
    short = []
    for kind, split in sorted({key[:2] for key in manifest.num_of}):
        num_files = sum(n for key, n in manifest.num_of.items() if key[:2] == (kind, split))
        num_absent = num_files - manifest.num_of[kind, split, PRESENT]
        if num_absent > max_missing * num_files or (kind == IMAGE and num_absent == num_files):
            share = f"({num_absent / num_files:.1%})"
            short.append(f"{num_absent:,} of {num_files:,} {kind}s of {split} {share}")
    if short:
        raise ValueError(
            f"{', '.join(short)} could not be had; of each, max_missing={max_missing:g} may be"
            f" absent, and never all images: {'; '.join(manifest.some_absent)}; ... All are in"
            f" {path}. Mend the source and run again (what was fetched stays), or raise max_missing"
        )
