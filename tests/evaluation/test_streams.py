import gzip
import io
import json

import pytest

from oiv5_d2.evaluation.streams import open_text, read_items


@pytest.mark.parametrize("block", [1, 2, 7, 1000])
def test_the_objects_of_a_list_are_those_of_the_whole(block):
    content = [{"a": 1.5, "text": 'x"]},{ é'}, {}, {"deep": [{"b": [1, -2e3]}, None]}]
    for indent in (None, 2):
        text = json.dumps(content, indent=indent, ensure_ascii=False)
        assert list(read_items(io.StringIO(f"\n {text}\n"), block)) == content
    assert list(read_items(io.StringIO(" [ ] "), block)) == []


@pytest.mark.parametrize(
    "text", ["", "[", '[{"a": 1}', '[{"a": 1},]', '[{"a": 1} {}]', '[{"a": ', "[3]", "[{}] 5", "{}"]
)
def test_what_is_no_list_of_objects_is_refused(text):
    with pytest.raises(ValueError):
        list(read_items(io.StringIO(text), 2))


def test_gzipped_or_not_and_with_a_byte_order_mark(tmp_path):
    for data in (b"\xef\xbb\xbfa\r\n", b"a\r\n", gzip.compress(b"a\r\n")):
        (tmp_path / "file").write_bytes(data)
        with open_text(tmp_path / "file") as file:
            assert file.read() == "a\r\n"
