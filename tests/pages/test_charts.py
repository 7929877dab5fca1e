import json
import math

from oiv5_d2.pages.charts import MOST_POINTS, Chart, Line


def content(line):
    (drawn,) = Chart("loss", "iteration", [line]).content()["lines"]
    return drawn


def test_a_long_line_is_thinned_and_keeps_its_ends():
    number = 10 * MOST_POINTS + 3
    drawn = content(Line("all", 0, range(number), [float(x) for x in range(number)]))
    assert len(drawn["x"]) == len(drawn["y"]) == MOST_POINTS
    assert (drawn["x"][0], drawn["x"][-1]) == (0, number - 1)
    steps = {after - before for before, after in zip(drawn["x"], drawn["x"][1:], strict=False)}
    assert steps <= {10, 11}


def test_a_short_line_stays_with_few_digits():
    drawn = content(Line("all", 0, [1, 2], [1 / 3, 123456.789], marks=[(0.5, 1 / 3)]))
    assert drawn["x"] == [1, 2]
    assert drawn["y"] == [0.33333, 123460.0]
    assert drawn["marks"] == [[0.5, 0.33333]]


def test_what_cannot_be_drawn_interrupts_the_line_and_the_content_is_json():
    drawn = content(Line("all", 0, [1, 2, 3, 4], [math.nan, None, math.inf, 4.0]))
    assert drawn["y"] == [None, None, None, 4.0]
    json.dumps(drawn, allow_nan=False)


def test_colours_begin_again_at_the_end_of_the_palette():
    first, again = (content(Line("a", i, [0], [0.0]))["colour"] for i in (0, 9))
    assert first == again == "var(--colour-0)"
