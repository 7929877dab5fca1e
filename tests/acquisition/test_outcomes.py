import pytest

from oiv5_d2.acquisition.outcomes import checksum, kind_of_reason


@pytest.mark.parametrize(
    ("content", "digits"),
    [
        (b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (b"abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ],
)
def test_a_checksum_is_what_the_paper_on_blake3_has(content, digits):
    assert checksum(content) == digits


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("it would unpack to 40000300 bytes: refused", "it would unpack to N bytes: refused"),
        ("cut short at 123 of 456 bytes, 6 tries", "cut short at N of N bytes, N tries"),
        ("v5/train-masks-c.zip: 40x20 pixels", "v5/train-masks-*.zip: N pixels"),
        ("the server says 503 Service Unavailable", "the server says 503 Service Unavailable"),
        ("another host (127.0.0.1:8000): refused", "another host (127.0.0.1:8000): refused"),
    ],
)
def test_reasons_are_alike_but_for_numbers_that_tell_files_apart(reason, kind):
    assert kind_of_reason(reason) == kind
