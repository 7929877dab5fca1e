"""The page as a person uses it, in a browser without a window."""

import threading
from contextlib import contextmanager

import pytest
from browser import find_browser, open_page

from oiv5_d2.exploring.page import render
from oiv5_d2.exploring.server import Site, open_server

pytestmark = pytest.mark.skipif(
    not find_browser(), reason="there is no Chromium; CHROMIUM names one"
)
NUMBER = "document.getElementById('number').textContent"
LARGE = "document.querySelector('#viewer b').textContent"
OUTLINES = "document.querySelectorAll('#gallery svg.objects').length"


@pytest.fixture(scope="module")
def browser():
    with open_page() as page:
        yield page


@contextmanager
def served(album):
    with open_server(Site(album, render(album)), 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def url(album):
    with served(album) as url:
        yield url


@pytest.fixture(scope="module")
def run_url(run_album):
    with served(run_album) as url:
        yield url


@pytest.fixture
def visit(browser):
    """Open an address; after the test nothing may have gone wrong or been asked of others."""
    opened = []

    def load(address, *arguments):
        opened.append(address.partition("?")[0])
        browser.load(address, *arguments)
        browser.wait(f"{OUTLINES} > 0 && !document.querySelector('.waiting')")
        return browser

    yield load
    assert browser.faults == []
    assert [one for one in browser.requests if not one.startswith(opened[-1])] == []


def numbers(page):
    """The images shown."""
    return page.run("[...document.querySelectorAll('.picture')].map((one) => +one.dataset.number)")


def settle(page, found):
    page.wait(f"{NUMBER} === '{found} of 5 images' && !document.querySelector('.waiting')")


def choose(page, name, value):
    page.run(
        f"(() => {{ const one = document.querySelector('select[name={name}]');"
        f"one.value = '{value}'; one.dispatchEvent(new Event('change')); }})()"
    )


def is_drawn(page, selector):
    return page.run(f"document.querySelector('{selector}').getClientRects().length > 0")


def test_words_search_and_the_address_holds_them(visit, url):
    page = visit(url)
    assert numbers(page) == [0, 1, 2, 3, 4]
    page.click("[name=q]")
    page.ask("Input.insertText", text="woman")
    settle(page, 1)
    assert numbers(page) == [0] and page.run("location.search") == "?q=woman"
    page.wait("document.querySelectorAll('.faded .shape.hit').length === 1")
    assert numbers(visit(page.run("location.href"))) == [0]
    assert page.run("document.querySelector('[name=q]').value") == "woman"


def test_filters_add_up_and_all_images_come_back(visit, url):
    page = visit(url)
    page.click("[data-class=Car]")
    settle(page, 3)
    choose(page, "part", "test")
    settle(page, 1)
    page.click("[data-class=occluded]")
    settle(page, 0)
    page.click("#nothing button")
    settle(page, 5)
    assert page.run("location.search") == ""
    assert page.run("document.querySelector('[data-class=Car]').ariaPressed") == "false"


@pytest.mark.parametrize("key", ["child=Van", "finding=tiny+mask", "reason=group+of", "size=0-16"])
def test_an_address_alone_sets_the_filters(visit, url, key):
    page = visit(f"{url}?{key}")
    name, value = key.replace("+", " ").split("=")
    assert page.run(f"document.querySelector('select[name={name}]').value") == value
    assert 0 < len(numbers(page)) < 5


def test_an_image_is_enlarged_and_the_arrows_go_on(visit, url):
    page = visit(url)
    page.click(".picture[data-number='0'] img")
    page.wait("document.getElementById('viewer').open")
    assert page.run(LARGE) == "train / 0000000000000000"
    page.press("ArrowRight")
    page.wait(f"{LARGE}.startsWith('train / 1111')")
    assert page.run("location.search") == "?image=1"
    page.press("ArrowLeft")
    page.wait(f"{LARGE}.startsWith('train / 0000')")
    assert page.run("document.querySelectorAll('#viewer tbody tr').length") == 2
    page.click("#viewer [aria-label=close]")
    assert not page.run("document.getElementById('viewer').open")
    page.wait("location.search === ''")


def test_an_address_opens_an_image_large(visit, url):
    page = visit(f"{url}?image=4")
    page.wait("document.getElementById('viewer').open")
    assert page.run(LARGE) == "test / 4444444444444444"


def test_the_pointer_reads_the_fields_of_an_object(visit, url):
    page = visit(f"{url}?image=0")
    page.wait("document.getElementById('viewer').open")
    page.hover("#viewer .shape .box")
    page.wait("!document.getElementById('tip').hidden")
    told = page.run("document.getElementById('tip').innerText")
    for fact in ("Car", "20 x 20 at 8, 4", "400 px", "0.75", "mask far from its box"):
        assert fact in told


def test_a_click_on_an_object_enlarges_it_and_another_one_all(visit, url):
    page = visit(f"{url}?image=0")
    page.wait("document.getElementById('viewer').open")
    transform = "document.querySelector('#viewer .zoom').style.transform"
    page.click("#viewer tbody tr")
    assert page.run(transform).startswith("scale(2.4)")
    page.click("#viewer tbody tr")
    assert page.run(transform) == ""


@pytest.mark.parametrize(
    ("switch", "element"),
    [
        ("no-boxes", "#gallery .box"),
        ("no-masks", "#gallery .mask"),
        ("no-ignored", "#gallery .shape.ignored .mask"),
    ],
)
def test_a_switch_hides_what_it_names(visit, url, switch, element):
    page = visit(f"{url}?class=Person&part=train")
    page.wait(f"document.querySelector('{element}') !== null")
    assert is_drawn(page, element)
    page.click(f"[name={switch}]")
    assert not is_drawn(page, element) and page.run("location.search").endswith(f"hide={switch}")
    page.click(f"[name={switch}]")
    assert is_drawn(page, element)


def test_two_runs_are_side_by_side_and_their_errors_are_found(visit, run_url):
    page = visit(run_url)
    sides = "[...document.querySelectorAll('#gallery .side')].map((one) => one.textContent)"
    assert page.run(sides) == ["truth", "one", "other"]
    shown = "document.querySelectorAll('#gallery .panel.b .shape:not([hidden])').length"
    assert page.run(shown) == 1
    slide = "(() => {{ const one = document.querySelector('[name=score]');"
    slide += "one.value = {}; one.dispatchEvent(new Event('input')); }})()"
    page.run(slide.format(0.2))
    assert page.run(shown) == 2
    choose(page, "outcome", "background")
    page.wait("document.querySelectorAll('.faded .panel.a .hit').length === 1")
    assert page.run("document.querySelector('select[name=layer]').value") == "a"


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_page_fits_the_screen_in_both_schemes(visit, run_url, width, is_dark):
    page = visit(run_url, (width, 800), is_dark)
    assert page.run("document.documentElement.scrollWidth") == width
    assert page.run("document.getElementById('filters').open") is (width > 520)
    red, *_ = page.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")
    assert (int(red) < 60) is is_dark
