import pytest
import torch
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.training.averages import blend, mean_of, snapshot, swapped, write_mean
from oiv5_d2.training.checkpoints import is_whole, read, write
from oiv5_d2.training.hooks.averaging import warmed_up


@pytest.fixture
def model():
    """A layer and batch norm, after one batch."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    model(torch.rand(4, 3))
    return model


def test_an_average_moves_by_its_share_and_takes_counts_as_they_are(model):
    averages = snapshot(model)
    before = snapshot(model)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    model(torch.rand(4, 3))
    blend(averages, model, 0.75)
    for name in ("0.weight", "1.running_mean", "1.running_var"):
        expected = 0.75 * before[name] + 0.25 * model.state_dict()[name]
        torch.testing.assert_close(averages[name], expected)
    assert averages["1.num_batches_tracked"] == 2
    assert torch.equal(averages["0.bias"], before["0.bias"])  # to the bit: it did not change


def test_swapped_weights_come_back_also_after_an_error(model):
    mine, others = snapshot(model), {k: v + 1 for k, v in snapshot(model).items()}
    given = {k: v.clone() for k, v in others.items()}
    with pytest.raises(KeyboardInterrupt), swapped(model, given):
        assert all(torch.equal(v, others[k]) for k, v in model.state_dict().items())
        raise KeyboardInterrupt
    assert all(torch.equal(v, mine[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(v, others[k]) for k, v in given.items())


def test_a_mean_is_that_of_all_files_and_takes_counts_from_the_last(model, tmp_path):
    paths = [tmp_path / f"{number}.pth" for number in range(3)]
    for number, path in enumerate(paths):
        model[1].num_batches_tracked.fill_(number)
        model[1].running_mean.fill_(0.1 * number)
        write(path, {"model": model.state_dict()})
    found = mean_of(paths)
    assert list(found) == list(model.state_dict())
    assert found["1.num_batches_tracked"] == 2
    torch.testing.assert_close(found["1.running_mean"], torch.full((2,), 0.1))
    assert torch.equal(found["0.weight"], model[0].weight)  # equal numbers stay, to the bit


def test_a_mean_is_a_file_of_weights_with_the_last_one_s_run(model, tmp_path):
    paths = [tmp_path / f"{number}.pth" for number in range(2)]
    for number, path in enumerate(paths):
        model[1].running_mean.fill_(number)
        write(path, {"model": model.state_dict(), "run": {"of": number}, "iteration": number})
    write_mean(paths, tmp_path / "mean.pth")
    found = read(tmp_path / "mean.pth")
    assert list(found) == ["model", "run"] and found["run"] == {"of": 1}
    assert found["model"]["1.running_mean"].tolist() == [0.5, 0.5]
    assert is_whole(tmp_path / "mean.pth")


def test_what_has_no_mean_is_refused_and_no_file_is_replaced(model, tmp_path):
    good, other, cut = (tmp_path / f"{name}.pth" for name in ("good", "other", "cut"))
    write(good, {"model": model.state_dict(), "run": {}})
    write(other, {"model": torch.nn.Linear(3, 3).state_dict(), "run": {}})
    cut.write_bytes(good.read_bytes()[:-9])
    to = tmp_path / "mean.pth"
    for kind, paths in {
        Kind.SETTING: [good],
        Kind.MISMATCH: [good, other],
        Kind.DAMAGED: [good, cut],
        Kind.ABSENT: [good, tmp_path / "gone.pth"],
    }.items():
        with refused(kind, key="weights"):
            write_mean(paths, to)
    with refused(Kind.SETTING, key="to"):
        write_mean([good, good], other)
    assert not to.exists()


def test_the_decay_rises_to_what_was_asked_for():
    assert [warmed_up(0.9, step) for step in (0, 8, 10**6)] == [0.1, 0.5, 0.9]
