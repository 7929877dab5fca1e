"""The page as a reader uses it, in a browser without a window."""

import pytest
from browser import find_browser, open_page

pytestmark = [
    pytest.mark.skipif(not find_browser(), reason="there is no Chromium; CHROMIUM names one"),
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
]
SHOWN = "[...document.querySelectorAll('.picture')].filter((one) => !one.hidden).length"


@pytest.fixture(scope="module")
def browser():
    with open_page() as page:
        yield page


@pytest.fixture
def page(browser, page_path):
    """The page on a desk; after the test nothing may have gone wrong or been asked for."""
    browser.load(page_path)
    yield browser
    assert browser.faults == []
    assert browser.requests == []


def column(page, section, number):
    cells = f"#{section} table.sortable:last-of-type tbody td:nth-child({number})"
    return page.run(f"[...document.querySelectorAll('{cells}')].map((one) => one.textContent)")


def is_drawn(page, selector):
    """Whether the first of these elements is on the screen."""
    return page.run(f"document.querySelector('{selector}').getClientRects().length > 0")


def test_a_click_on_a_header_sorts_and_another_one_turns_it_round(page):
    before = column(page, "slices", 2)
    page.click("#slices th:nth-child(2) button")
    falling = column(page, "slices", 2)
    assert falling == sorted(before, key=int, reverse=True) != before
    page.click("#slices th:nth-child(2) button")
    assert column(page, "slices", 2) == sorted(before, key=int)
    page.click("#slices th:nth-child(1) button")
    names = column(page, "slices", 1)
    assert names == sorted(names, key=str.lower)


def test_filters_by_class_kind_and_error_choose_images(page):
    assert page.run(SHOWN) == 3
    page.click("[data-class='Traffic light']")
    assert page.run(SHOWN) == 0
    page.click("[data-class='Car']")
    assert page.run(SHOWN) == 3
    assert page.run("document.getElementById('number').value") == "3 of 3 images"
    page.click("[data-class='Traffic light']")
    choose = "(([name, value]) => {{ const one = document.querySelector(`select[name=${{name}}]`);"
    choose += "one.value = value; one.dispatchEvent(new Event('change')); }})({})"
    page.run(choose.format("['kind', 'worst']"))
    assert page.run(SHOWN) == 1
    page.run(choose.format("['kind', '']"))
    page.run(choose.format("['error', 'background']"))
    assert page.run(SHOWN) == 0


def test_a_slice_chooses_images_and_the_objects_that_are_shown(page):
    choose = "(([name, value]) => {{ const one = document.querySelector(`select[name=${{name}}]`);"
    choose += "one.value = value; one.dispatchEvent(new Event('change')); }})({})"
    truths = "document.querySelectorAll('.panel.truth .shape:not(.ignored):not([hidden])').length"
    before = page.run(truths)
    page.run(choose.format("['slice', 'label Woman']"))
    assert page.run(truths) == page.run(SHOWN) == 3 < before
    page.click("[data-class='Car']")
    assert page.run(SHOWN) == 0
    page.click("[data-class='Car']")
    page.run(choose.format("['slice', '']"))
    assert page.run(truths) == before and page.run(SHOWN) == 3


def test_the_least_score_hides_detections_and_counts_what_is_missed(page):
    boxes = "document.querySelectorAll('.panel.found .found > .shape:not([hidden])').length"
    before = page.run(boxes)
    slide = "(() => { const one = document.querySelector('[name=score]');"
    slide += "one.value = 0.7; one.dispatchEvent(new Event('input')); })()"
    page.run(slide)
    assert 0 < page.run(boxes) < before
    captions = page.run("document.getElementById('gallery').textContent")
    assert "0 of 2 objects found" in captions and "2 of 2 objects found" in captions


@pytest.mark.parametrize(
    ("switch", "element"),
    [
        ("no-truth", ".panel.truth"),
        ("no-found", ".panel.found"),
        ("no-boxes", ".panel.found .found .box"),
        ("no-masks", ".panel.found .found .mask"),
        ("no-ignored", ".panel.truth .shape.ignored .mask"),
    ],
)
def test_a_switch_hides_what_it_names(page, switch, element):
    assert is_drawn(page, element)
    page.click(f"[name={switch}]")
    assert not is_drawn(page, element)
    page.click(f"[name={switch}]")
    assert is_drawn(page, element)


def test_truth_can_be_laid_over_the_prediction(page):
    assert not is_drawn(page, ".panel.found svg.truth")
    page.click("[name=overlay]")
    assert is_drawn(page, ".panel.found svg.truth") and not is_drawn(page, ".panel.truth")


def test_a_click_on_an_image_enlarges_it_and_the_arrows_go_on(page):
    page.click(".picture img")
    title = "document.querySelector('#viewer b').textContent"
    first = page.run(title)
    assert page.run("document.getElementById('viewer').open")
    page.click("#viewer [aria-label=next]")
    assert page.run(title) != first
    page.click("#viewer [aria-label=previous]")
    assert page.run(title) == first
    for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft"):
        page.press(key)
    assert page.run(title) == first
    page.press("ArrowRight")
    assert page.run(title) != first
    page.click("#viewer [aria-label=close]")
    assert not page.run("document.getElementById('viewer').open")


def test_the_pointer_reads_a_curve_and_the_legend_hides_one(page):
    lines = "document.querySelectorAll('#scores figure:first-child path').length"
    page.hover("#training figure svg")
    assert is_drawn(page, "#training figure .tip")
    assert "training" in page.run("document.querySelector('#training .tip').textContent")
    before = page.run(lines)
    page.click("#scores figure:first-child .legend button")
    assert page.run(lines) == before - 1


def test_settings_are_found_by_words_and_all_are_shown_on_demand(page):
    rows = "[...document.querySelectorAll('#all-settings tbody tr')]"
    shown = f"{rows}.filter((one) => one.getClientRects().length).length"
    few = page.run(shown)
    page.click("#changed")
    assert page.run(shown) == page.run(f"{rows}.length") > few
    page.click("#find")
    page.ask("Input.insertText", text="mask_on")
    assert page.run(shown) == 1


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_screen_in_both_schemes(browser, page_path, width, is_dark):
    browser.load(page_path, (width, 800), is_dark)
    assert browser.run("document.documentElement.scrollWidth") == width
    red, *_ = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
    assert (int(red) < 60) is is_dark
    assert browser.faults == browser.requests == []
