import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oiv5_d2.acquisition.mask_zips.central_directory import Directory, Entry
from oiv5_d2.acquisition.mask_zips.ranges import coalesce, how


def entries_at(*places):
    """Make entries of (start, stop)."""
    return [Entry(f"{start}.png", start, stop, 0, 0, 1, 1) for start, stop in places]


def spans_of(*places, **limits):
    return [(span.start, span.stop) for span in coalesce(entries_at(*places), **limits)]


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 500)), max_size=40),
    st.floats(0, 2),
    st.integers(0, 300),
    st.integers(1, 3000),
    st.randoms(),
)
def test_spans_hold_each_entry_once_and_little_else(steps, max_waste, max_gap, max_bytes, chance):
    places, at = [], 0
    for gap, num_bytes in steps:
        places.append((at + gap, at + gap + num_bytes))
        at += gap + num_bytes
    entries = entries_at(*places)
    shuffled = chance.sample(entries, len(entries))
    spans = coalesce(shuffled, max_waste, max_gap, max_bytes)
    assert [entry for span in spans for entry in span.entries] == entries
    wanted_bytes = sum(stop - start for start, stop in places)
    assert sum(span.stop - span.start for span in spans) <= (1 + max_waste) * wanted_bytes
    for span in spans:
        assert (span.start, span.stop) == (span.entries[0].start, span.entries[-1].stop)
        assert span.stop - span.start <= max_bytes or len(span.entries) == 1
        for before, after in itertools.pairwise(span.entries):
            assert after.start - before.stop <= max_gap
    for before, after in itertools.pairwise(spans):
        assert before.stop <= after.start


def test_neighbours_are_one_request():
    assert spans_of((0, 10), (10, 20), (20, 30)) == [(0, 30)]


def test_the_smallest_gaps_are_bridged_first():
    assert spans_of((0, 100), (105, 200), (203, 300), max_waste=0.02) == [(0, 100), (105, 300)]


def test_far_entries_stay_apart_however_much_may_be_wasted():
    places = (0, 1 << 20), ((1 << 20) + 70_000, 3 << 20)
    assert spans_of(*places) == list(places)


def test_a_span_has_a_limit():
    spans = coalesce(entries_at(*((at << 20, (at + 1) << 20) for at in range(20))))
    assert [span.stop - span.start for span in spans] == [8 << 20, 8 << 20, 4 << 20]


def test_nothing_wanted_is_no_request():
    assert coalesce([]) == []


# --- By range or whole ----------------------------------------------------------------------------


def directory_of(num_entries, entry_bytes=1700):
    entries = entries_at(*((at * entry_bytes, (at + 1) * entry_bytes) for at in range(num_entries)))
    directory_bytes = 100 * num_entries
    return Directory(
        num_entries * entry_bytes + directory_bytes,
        "",
        directory_bytes,
        b"",
        {entry.name: entry for entry in entries},
        {},
    )


@pytest.mark.parametrize(
    ("num_entries", "step", "num_requests", "why"),
    [
        (1000, 50, 20, "2% wanted"),
        (1000, 2, 475, "47% wanted"),
        (20_000, 10, 1989, "9% wanted"),
        (20_000, 2, None, "too many requests (9,500): 47% wanted"),
        (1000, 1, None, "94% wanted"),
    ],
)
def test_a_zip_is_fetched_whole_where_that_is_less_work(num_entries, step, num_requests, why):
    directory = directory_of(num_entries)
    wanted = list(directory.entries)[::step]
    plan = how(directory, [*wanted, "absent.png"])
    assert plan.by_range == (num_requests is not None)
    assert num_requests in (None, plan.num_requests)
    assert why in plan.why
    assert (plan.num_wanted, plan.num_absent) == (len(wanted) + 1, 1)
    assert plan.zip_bytes == directory.num_bytes
    wanted_bytes = 1700 * len(wanted) + directory.directory_bytes
    assert wanted_bytes <= plan.range_bytes <= 1.05 * wanted_bytes


@given(st.integers(1, 3000), st.integers(100, 3000), st.integers(1, 60), st.integers(0, 60))
def test_few_requests_never_bring_more_than_a_tenth_too_much(num_entries, size, step, gap):
    directory = directory_of(num_entries, size)
    wanted = [name for at, name in enumerate(directory.entries) if at % (step + gap) < step]
    plan = how(directory, wanted)
    fetched = plan.range_bytes if plan.by_range else plan.zip_bytes + directory.directory_bytes
    least = size * len(wanted) + directory.directory_bytes
    assert fetched <= 1.1 * least or plan.num_requests > 1000


@pytest.mark.parametrize("mode", ["range", "whole"])
def test_the_settings_may_decide(mode):
    plan = how(directory_of(10), ["0.png"], mode)
    assert plan.by_range == (mode == "range")
    assert plan.why == "the settings say so"
