import pytest

from oiv5_d2.console.screen import duration, size


@pytest.mark.parametrize(
    ("num_bytes", "shown"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2_340_000, "2.3 MB"), (5e12, "5000.0 GB")],
)
def test_sizes_are_shown_in_the_unit_that_people_read(num_bytes, shown):
    assert size(num_bytes) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.2, "0.2 s"), (89, "89 s"), (600, "10 min"), (7_200, "2.0 h")]
)
def test_times_are_shown_in_the_unit_that_people_read(seconds, shown):
    assert duration(seconds) == shown
