import torch
from raising import refused

from oiv5_d2.problems import Kind
from oiv5_d2.training.memory import fewest, try_step


def test_the_largest_micro_batch_that_fits_is_taken():
    tried = []

    def measure(size):
        tried.append(size)
        if size > 8:
            raise torch.OutOfMemoryError
        return 100 * size

    assert fewest(16, measure, usable=650) == 3
    # Six in the largest of three; each size is tried once.
    assert tried == [16, 8, 6]
    assert fewest(16, measure, usable=800) == 2
    assert fewest(5, measure, usable=100) == 5


def test_all_processes_take_what_fits_in_each():
    in_the_other = iter([False, False, True])
    found = fewest(8, lambda size: size, 8, gather=lambda fits: [fits, next(in_the_other)])
    assert found == 3


def test_an_image_that_does_not_fit_is_refused():
    with refused(Kind.TOO_LARGE, about="7 bytes"):
        fewest(4, lambda size: 8 * size, usable=7)


def test_trying_leaves_no_trace_in_the_model(build_trainer):
    trainer = build_trainer()
    model = trainer.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try_step(model, next(trainer.data_loader), torch.enable_grad)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert any(parameter.grad is not None for parameter in model.parameters())
