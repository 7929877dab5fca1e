import pytest
from oiv5_d2.acquisition.tables.heads import Heads

from oiv5_d2.acquisition.stores import Head, StoreError, UnreachableError


class ToldStore:
    """A store that answers as it is told to, and notes what it is asked."""

    def __init__(self, **answers):
        self.answers, self.asked = answers, []

    def head(self, key):
        self.asked.append(key)
        answer = self.answers[key]
        if isinstance(answer, Exception):
            raise answer
        return answer


ONE, OTHER = Head(1, "one"), Head(2, "other")


def test_a_file_is_asked_for_once_until_it_is_forgotten_or_told_elsewhere():
    store = ToldStore(a=ONE)
    heads = Heads(store)
    assert heads.will_ask("a")
    assert [heads.of("a"), heads.of("a")] == [ONE, ONE]
    assert store.asked == ["a"] and not heads.will_ask("a")
    heads.note("a", OTHER)
    assert heads.of("a") == OTHER
    heads.forget("a")
    heads.forget("never asked for")
    assert heads.of("a") == ONE
    assert store.asked == ["a", "a"]


def test_a_refusal_is_kept_and_is_of_that_file_alone():
    store = ToldStore(a=StoreError("403"), b=ONE)
    heads = Heads(store)
    for _ in range(2):
        with pytest.raises(StoreError, match="403"):
            heads.of("a")
    assert heads.of("b") == ONE
    assert store.asked == ["a", "b"]


def test_after_no_answer_none_is_asked_for_and_what_was_told_stays():
    store = ToldStore(a=ONE, b=UnreachableError("nobody there"), c=ONE)
    heads = Heads(store)
    heads.of("a")
    for key in "bcb":
        with pytest.raises(UnreachableError, match="nobody there"):
            heads.of(key)
    assert heads.of("a") == ONE
    assert store.asked == ["a", "b"] and not heads.will_ask("d")
