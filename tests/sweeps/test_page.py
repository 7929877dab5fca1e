import json
import re

import pytest

from oiv5_d2.sweeps.leaderboard import write_leaderboard
from oiv5_d2.sweeps.page import write_page


@pytest.fixture
def page(ledger, make_plan, tmp_path):
    """Write the page of a sweep over ranges, with these metrics; None for a failed one."""

    def write(ranges, values):
        worker, plan = ledger(ranges=ranges), make_plan(ranges=ranges)
        for value in values:
            taken = worker.take(0)
            if value is None:
                worker.fail(taken, "<b>diverged</b>")
                continue
            record = {"results": {"segm": {"AP": value}}, "seconds": 1.0, "iterations": 4}
            (taken.run_dir / "run.json").write_text(json.dumps(record))
            worker.finish(taken, value)
        rows = write_leaderboard(tmp_path, plan, worker.study(), lambda *words: " ".join(words))
        return write_page(tmp_path, plan, worker.study(), rows).read_text()

    return write


def test_the_page_needs_nothing_beside_itself(page):
    text = page({"a": "1,2,3,4,5,6", "b": "choice(x)"}, [1.0, 5.0, None, 2.0, 3.0, 4.0])
    assert not re.search(r"src=|@import|url\(|<link(?! rel=\"icon\" href=\"data:,\")", text)
    assert "default-src 'none'" in text
    assert "&lt;b&gt;diverged&lt;/b&gt;" in text
    assert text.count('class="dot"') == 5 and "<polyline" not in text
    assert "<pre>+experiment=x a=2 b=x</pre>" in text  # the best trial's command
    assert text.count("<dt>") == 6  # and those of all
    assert "Importance" in text


def test_trials_that_differ_in_several_settings_are_lines(page):
    text = page({"a": "1,2", "b": "choice(x,y)"}, [1.0, 5.0, None, 2.0])
    assert text.count('class="trial"') == 3 and 'class="dot"' not in text
    assert re.findall(r"<th [^>]*>(.*?)</th>", text)[:4] == ["trial", "segm/AP", "a", "b"]
    assert "4 trials: 3 finished, 1 failed." in text
    assert re.findall(r"<title>(.*?)</title>", text, re.DOTALL)[1:] == [
        *("trial 0: 1.00\na 1\nb x", "trial 3: 2.00\na 2\nb y", "trial 1: 5.00\na 1\nb y")
    ]


def test_a_sweep_over_shares_of_the_data_says_what_more_would_bring(page):
    values = [100 - 50 * share**-0.3 for share in (0.1, 0.3, 1.0)]
    text = page({"trainer.data_share": "0.1,0.3,1.0"}, values)
    assert f"{100 - 50 * 4**-0.3:.1f} with 4 times as much" in text


def test_a_sweep_without_any_result_has_a_page(page):
    assert "<tbody>" in page({"a": "1,2"}, [None])
