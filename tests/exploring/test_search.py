from urllib.parse import parse_qs

import pytest

from oiv5_d2.exploring.query import WrongQuery, read_query

FIRST, SECOND, THIRD, FOURTH, OF_TEST = range(5)


def find(album, words):
    """Return the numbers of the images found, in order."""
    return [one["number"] for one in album.find(read_query(parse_qs(words)))["images"]]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        ("", [FIRST, SECOND, THIRD, FOURTH, OF_TEST]),
        ("q=1111", [SECOND]),
        ("q=test/", [OF_TEST]),
        ("q=woman", [FIRST]),
        ("q=car", [FIRST, SECOND, OF_TEST]),
        ("q=OCCLUDED person", [FIRST]),
        ("q=truncated car", []),
        ("q=2222 group", [THIRD]),
        ("q=tiny", [SECOND]),
        ("q=3333", [FOURTH]),
        ("q=3333 car", []),
        ("class=Car", [FIRST, SECOND, OF_TEST]),
        ("class=Car&class=Person&part=train", [FIRST, SECOND, THIRD]),
        ("child=Van", [OF_TEST]),
        ("flag=occluded", [FIRST]),
        ("flag=occluded&class=Car", []),
        ("flag=ignored", [THIRD]),
        ("flag=ignored&flag=group of", [THIRD]),
        ("reason=group of", [THIRD]),
        ("size=11-13", [SECOND]),
        ("size=-4", [SECOND]),
        ("size=20-", [FIRST, THIRD, OF_TEST]),
        ("size=large", []),
        ("finding=tiny mask", [SECOND]),
        ("finding=mask far from its box", [FIRST]),
        ("finding=mask far from its box&class=Person", []),
        ("finding=image file: missing", [SECOND]),
        ("finding=same bytes in another part", [FOURTH, OF_TEST]),
        ("finding=no annotation", [FOURTH]),
        ("finding=unknown", []),
        ("class=Bus", []),
        ("part=validation", []),
        ("order=largest&class=Person", [THIRD, SECOND, FIRST, OF_TEST]),
        ("order=smallest&class=Car", [SECOND, FIRST, OF_TEST]),
        ("order=most objects&part=train", [FIRST, SECOND, THIRD, FOURTH]),
    ],
)
def test_images_are_found_by_all_that_is_said_of_one_object(album, words, numbers):
    assert find(album, words) == numbers


@pytest.mark.parametrize(
    ("words", "is_found"),
    [
        ("a=found&class=Person", True),
        ("a=missed&class=Person", False),
        ("a=missed&class=Car", True),
        ("b=found&class=Person", False),
        ("b=found&class=Person&score=0.2", True),
        ("a=missed&b=found", True),
        ("a=found&b=found", False),
        ("layer=a&outcome=background", True),
        ("layer=a&outcome=background&score=0.85", False),
        ("layer=b&outcome=right&class=Car", True),
        ("layer=b&outcome=background&score=0.1", False),
        ("layer=a&q=person", True),
    ],
)
def test_images_are_found_by_what_runs_found_on_them(run_album, words, is_found):
    assert find(run_album, words) == ([0] if is_found else [])


def test_the_objects_that_are_meant_are_named_by_their_place_in_the_image(album):
    (found,) = album.find(read_query({"child": ["Van"]}))["images"]
    assert (found["part"], found["size"], found["hits"]) == ("test", [80, 60], [1])
    assert album.find(read_query({}))["images"][0]["hits"] is None
    assert album.find(read_query({"q": ["0000"]}))["images"][0]["hits"] is None  # all are meant


@pytest.mark.parametrize(
    "words", ["size=many", "size=3-x", "layer=c", "flag=red", "order=x", "page=x", "score=nan"]
)
def test_words_without_meaning_are_refused(words):
    with pytest.raises(WrongQuery):
        read_query(parse_qs(words))


def test_a_page_beyond_the_last_is_the_last(album):
    found = album.find(read_query({"page": ["9"]}))
    assert (found["page"], found["total"], len(found["images"])) == (1, 5, 5)
