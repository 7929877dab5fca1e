import pytest

from oiv5_d2.reporting.page.settings import chosen_files, given_words, read_settings


@pytest.fixture
def root(tmp_path):
    """A project with Detectron2's defaults, and `run` below it."""
    texts = {
        "configs/detectron2/v0.6.yaml": "d2:\n  SOLVER: {BASE_LR: 0.001, GAMMA: 0.1}\n  SEED: -1\n",
        "run/config.yaml": "SOLVER: {BASE_LR: 0.02, GAMMA: 0.1}\nSEED: -1\nTRAINER: {own: 1}\n",
        "run/.hydra/config.yaml": (
            "data: {name: mini, dir: /home/someone/mini, limit: {unit: images, per_class: 3}}\n"
            "logger: {api_key: 0123456789abcdef}\nd2: {SEED: 3}\n"
        ),
        "run/.hydra/overrides.yaml": "- data=mini\n- +data.limit={per_class:3}\n- d2.SEED=-1\n",
        "run/.hydra/hydra.yaml": (
            "hydra: {runtime: {choices: {data: mini, experiment: quickstart, hydra/env: default,"
            " sweep: null}}}\n"
        ),
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def settings(root):
    return {one.key: one for one in read_settings(root / "run", root)}


def test_detectron2s_settings_are_beside_their_defaults(root):
    rate, gamma = (settings(root)[f"d2.SOLVER.{key}"] for key in ("BASE_LR", "GAMMA"))
    assert (rate.value, rate.default, rate.is_changed) == ("0.02", "0.001", True)
    assert (gamma.value, gamma.default, gamma.is_changed) == ("0.1", "0.1", False)


def test_what_the_command_line_set_is_marked_also_where_it_is_the_default(root):
    seed = settings(root)["d2.SEED"]
    assert (seed.value, seed.default, seed.is_given, seed.is_changed) == ("-1", "-1", True, True)
    assert settings(root)["data.limit.per_class"].is_given


def test_a_chosen_file_gives_none_of_its_settings(root):
    assert not settings(root)["data.name"].is_given
    assert chosen_files(root / "run") == {"data": "mini", "experiment": "quickstart"}


def test_every_setting_is_there_once(root):
    assert list(settings(root)) == [
        *("data.dir", "data.limit.per_class", "data.limit.unit", "data.name", "logger.api_key"),
        *("d2.SEED", "d2.SOLVER.BASE_LR", "d2.SOLVER.GAMMA"),
    ]


def test_nothing_private_is_told(root):
    found = settings(root)
    assert found["data.dir"].value == "…/mini"
    assert "0123456789abcdef" not in str(found)
    assert given_words(root / "run")[0] == "data=mini"


def test_a_run_without_hydras_notes_has_detectron2s_settings_only(root):
    for path in (root / "run/.hydra").iterdir():
        path.unlink()
    assert set(settings(root)) == {"d2.SEED", "d2.SOLVER.BASE_LR", "d2.SOLVER.GAMMA"}
    assert (given_words(root / "run"), chosen_files(root / "run")) == ([], {})
