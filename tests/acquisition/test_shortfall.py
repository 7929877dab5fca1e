import pytest

from oiv5_d2.acquisition.manifest import write_manifest
from oiv5_d2.acquisition.outcomes import Outcome
from oiv5_d2.acquisition.shortfall import refuse_too_many


@pytest.fixture
def note(tmp_path):
    """Return a function that writes so many files by kind, split, state and, if any, reason."""

    def write(counts):
        with write_manifest(tmp_path / "manifest.csv") as manifest:
            for (kind, split, state, *reason), number in counts.items():
                for name in range(number):
                    why, source = "".join(reason).format(name), f"s3://bucket/{split}/{name}"
                    manifest.add(kind, split, Outcome(f"{name}", state, why, source=source))
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


GONE = "it is not in the release"
DAMAGED = "it would unpack to {} bytes: refused"
LATE = "the deadline of 60 s passed"
SHUT = "the server says 403 Forbidden"


def said_of(note, tmp_path, reasons, num_present=10):
    counts = {("image", "train", *reason): number for reason, number in reasons.items()}
    manifest = note({**counts, ("image", "train", "present"): num_present})
    with pytest.raises(ValueError) as caught:
        refuse_too_many(manifest, 0.05, tmp_path / "manifest.csv")
    return str(caught.value)


def test_reasons_are_counted_and_the_most_come_first(note, tmp_path):
    reasons = {("missing", GONE): 2, ("failed", LATE): 1_754, ("corrupt", DAMAGED): 7}
    said = said_of(note, tmp_path, {**reasons, ("failed", SHUT): 1}, 50_000 // 10)
    first, second, third, rest = said.partition("Why: ")[2].partition(". All")[0].split("; ")
    assert first == "1,754 failed: the deadline of N s passed, such as s3://bucket/train/0"
    assert second.startswith("7 corrupt: it would unpack to N bytes: refused")
    assert third.startswith("2 missing: it is not in the release")
    assert rest == "1 more"
    late, mended, lacking, shut = said.partition("stays. ")[2].split(". ")
    assert "retry_failed=true" in late
    assert "damaged" in mended and "lacks" in lacking and "data.images" in shut


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        (("failed", LATE), "retry_failed=true"),
        (("failed", "the server says 429 Too Many Requests, 6 tries"), "retry_failed=true"),
        (("failed", "the server says 503 Service Unavailable"), "retry_failed=true"),
        (("failed", "cut short at {} bytes"), "retry_failed=true"),
        (("failed", SHUT), "transfer.sign_s3"),
        (("failed", "redirects to another host (x): refused"), "follow_redirects"),
    ],
)
def test_each_reason_has_its_remedy(note, tmp_path, reason, remedy):
    assert remedy in said_of(note, tmp_path, {reason: 10}).partition("stays. ")[2]


def test_where_nothing_is_there_at_all_the_address_is_to_be_looked_at(note, tmp_path):
    said = said_of(note, tmp_path, {("missing", GONE): 10}, 0)
    assert said.endswith("Nothing at all is there: is data.images (or data.source) the right one?")
    assert "right one" not in said_of(note, tmp_path, {("missing", GONE): 10}, 1)
