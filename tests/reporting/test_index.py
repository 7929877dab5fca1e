import shutil

import pytest
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.reporting.index import write_index
from oiv5_d2.reporting.record import NO_ANSWER, write_record

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy")


@pytest.fixture(scope="module")
def kept_dir(kept_run_dir, tmp_path_factory, street):
    experiments_dir = tmp_path_factory.mktemp("experiments")
    for name in ("b_street", "a_street"):
        write_record(kept_run_dir, experiments_dir, street.root, name, with_images=False)
    return experiments_dir


@pytest.fixture
def experiments_dir(kept_dir, tmp_path):
    return shutil.copytree(kept_dir, tmp_path / "experiments")


def test_every_record_is_a_row_linked_and_sorted(experiments_dir):
    rows = write_index(experiments_dir).read_text().splitlines()[-2:]
    assert rows[0] == (
        r"| [a_street](a_street/README.md) | Does it find people \| cars? |  | street_test "
        "| 41.5 | 41.5 | 50.0 | 1.50 | 2 cores of Fast(R) Processor |"
    )
    assert rows[1].startswith("| [b_street]")


def test_answers_are_shown_and_open_ones_are_not(experiments_dir):
    page = experiments_dir / "b_street" / "README.md"
    page.write_text(page.read_text().replace(NO_ANSWER, "Yes."))
    text = write_index(experiments_dir).read_text()
    assert "| Yes. |" in text and NO_ANSWER not in text


def test_the_table_is_the_same_when_made_again(experiments_dir):
    before = write_index(experiments_dir).read_bytes()
    assert write_index(experiments_dir).read_bytes() == before


def test_no_record_gives_an_empty_table(tmp_path):
    assert write_index(tmp_path).read_text().endswith("---: | ---: |\n")


def test_a_damaged_record_is_named(experiments_dir):
    (experiments_dir / "a_street" / "record.json").write_text("{")
    with refused(Kind.DAMAGED, about="a_street/record.json"):
        write_index(experiments_dir)
