from PIL import Image

from oiv5_d2.reporting.curves import write_curves


def scalars(**columns):
    rows = zip(*columns.values(), strict=True)
    return [
        {"iteration": iteration}
        | {name: value for name, value in zip(columns, row, strict=True) if value is not None}
        for iteration, row in zip((19, 39, 59), rows, strict=True)
    ]


def test_curves_are_an_image_that_can_be_read_back(tmp_path):
    losses = {"total_loss": [3.0, 2.0, 1.0], "loss_mask": [0.7, 0.6, None], "lr": [0.1, 0.1, 0.0]}
    write_curves(scalars(**losses, **{"segm/AP": [None, 5.0, 9.0]}), "street", tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as image:
        assert image.size == (1100, 682)


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        write_curves(scalars(total_loss=[3.0, 2.0, 1.0]), "street", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_other_numbers_give_another_image(tmp_path):
    for name, last in (("a.png", 1.0), ("b.png", 2.5)):
        write_curves(scalars(total_loss=[3.0, 2.0, last]), "street", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()


def test_a_run_without_any_number_still_gives_an_image(tmp_path):
    write_curves([{"iteration": 19}], "street", tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000


def test_an_average_of_the_weights_has_a_line_of_its_own(tmp_path):
    low, high = [1.0, 2.0, 3.0], [4.0, 5.0, 9.0]
    for name, plain, ema in (("a.png", low, high), ("b.png", high, low)):
        write_curves(scalars(**{"segm/AP": plain, "ema/segm/AP": ema}), "x", tmp_path / name)
    write_curves(scalars(**{"segm/AP": low}), "x", tmp_path / "c.png")
    assert len({(tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png")}) == 3


def test_a_line_of_cocos_metric_is_not_another_metrics(tmp_path):
    coco, other = [1.0, 2.0, 3.0], [40.0, 50.0, 60.0]
    write_curves(scalars(**{"segm/AP50": coco}), "x", tmp_path / "a.png")
    both = {"segm/AP50": coco, "open_images/segm/AP50": other}
    write_curves(scalars(**both), "x", tmp_path / "b.png")
    named = {f"street_validation/{name}": values for name, values in both.items()}
    write_curves(scalars(**named), "x", tmp_path / "c.png")
    assert len({(tmp_path / name).read_bytes() for name in ("a.png", "b.png", "c.png")}) == 1
