import pytest

from oiv5_d2.dataset.outcomes import checksum


@pytest.mark.parametrize(
    ("content", "digits"),
    [
        (b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (b"abc", "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
    ],
)
def test_a_checksum_is_what_the_paper_on_blake3_has(content, digits):
    assert checksum(content) == digits
