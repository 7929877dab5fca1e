import pytest

from oiv5_d2.dataset.manifest import write_manifest
from oiv5_d2.dataset.outcomes import Outcome
from oiv5_d2.dataset.shortfall import refuse_too_many


@pytest.fixture
def note(tmp_path):
    """Return a function that writes a manifest of so many files by kind, split and state."""

    def write(counts):
        with write_manifest(tmp_path / "manifest.csv") as manifest:
            for (kind, split, state), number in counts.items():
                for name in range(number):
                    manifest.add(kind, split, Outcome(f"{name}", state, f"{state} ones"))
        return manifest

    return write


def test_lost_pictures_are_not_hidden_by_the_many_masks(note, tmp_path):
    counts = {("image", "train", "missing"): 8, ("image", "train", "present"): 69}
    manifest = note({**counts, ("mask", "train", "present"): 252})
    with pytest.raises(ValueError, match=r"^8 of 77 images of train \(10.4%\) could not be had"):
        refuse_too_many(manifest, 0.05, tmp_path / "manifest.csv")
    refuse_too_many(manifest, 0.11, tmp_path / "manifest.csv")


def test_a_small_split_is_not_hidden_by_a_large_one(note, tmp_path):
    counts = {("mask", "test", "failed"): 6, ("mask", "test", "present"): 4}
    manifest = note({**counts, ("mask", "train", "present"): 1_000})
    with pytest.raises(ValueError, match=r"^6 of 10 masks of test \(60.0%\) could not be had"):
        refuse_too_many(manifest, 0.5, tmp_path / "manifest.csv")


def test_a_split_without_any_picture_is_refused_whatever_is_allowed(note, tmp_path):
    masks = {("mask", "test", "missing"): 5, ("mask", "train", "present"): 5}
    pictures = {("image", "test", "missing"): 2, ("image", "train", "present"): 98}
    with pytest.raises(ValueError, match=r"^2 of 2 images of test \(100.0%\) could not be had"):
        refuse_too_many(note({**masks, **pictures}), 1.0, tmp_path / "manifest.csv")
    refuse_too_many(note(masks), 1.0, tmp_path / "manifest.csv")
