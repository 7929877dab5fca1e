"""Which of several measures is kept."""

import pytest

from oiv5_d2.preparation.rates import FETCH, TABLES, Rate, keep_rate, measured_fetch, read_rate

URL = "http://there"


def kept_of(data_dir, *rates):
    for rate in rates:
        keep_rate(data_dir, URL, rate)
    return read_rate(data_dir, URL)


def test_a_fetch_is_believed_more_than_tables_and_many_bytes_more_than_few(tmp_path):
    tables, fetch = Rate(10**9, 10.0, TABLES), Rate(10**6, 2.0, FETCH)
    assert kept_of(tmp_path, tables) == tables
    assert kept_of(tmp_path, fetch) == fetch
    assert kept_of(tmp_path, tables, Rate(1000, 60.0, FETCH)) == fetch
    assert fetch.bytes_per_second == 500_000
    assert read_rate(tmp_path, "http://elsewhere") is None


def test_few_bytes_of_tables_and_nothing_at_all_are_no_measure(tmp_path):
    assert kept_of(tmp_path, Rate(200_000, 1.0, TABLES), Rate(0, 9.0, FETCH)) is None


@pytest.mark.parametrize("content", ["", "[]", "{", '{"http://there": 7}', '{"http://there": {}}'])
def test_a_damaged_file_is_no_measure(tmp_path, content):
    (tmp_path / ".stamps").mkdir()
    (tmp_path / ".stamps" / "rate.json").write_text(content)
    assert read_rate(tmp_path, URL) is None


def test_a_fetch_that_is_stopped_is_a_measure(tmp_path):
    told = []
    with pytest.raises(KeyboardInterrupt):
        with measured_fetch(tmp_path, URL, lambda *news: told.append(news)) as advance:
            advance(1, 700, 0)
            raise KeyboardInterrupt
    assert told == [(1, 700, 0)]
    assert read_rate(tmp_path, URL).num_bytes == 700
