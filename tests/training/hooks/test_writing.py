"""When numbers are written, in whole runs of the tiny model."""

from oiv5_d2.runs.scalars import read_scalars, series


def test_each_evaluation_is_written_however_close_they_are(start, tmp_path):
    words = ("d2.SOLVER.MAX_ITER=4", "d2.TEST.EVAL_PERIOD=2", "trainer.evaluate_first=true")
    start(*words)
    rows = read_scalars(tmp_path / "run")
    assert series(rows, "bbox/AP").iterations == [0, 1, 3]
    assert series(rows, "total_loss").iterations == [1, 3]
