from dataclasses import replace

from oiv5_d2.acquisition.mask_zips.ranges import ZipPlan
from oiv5_d2.preparation.plan import ImageNeed, Plan, ZipNeed


def test_many_small_pictures_take_as_long_as_their_answers():
    images = (ImageNeed("train", 1_000, 10, 200, 0),)
    plan = Plan((), images=images, answers_per_second=50.0)
    assert (plan.seconds, plan.least_seconds) == (None, 20)
    assert replace(plan, bytes_per_second=1e6).seconds == 20
    assert replace(plan, bytes_per_second=0.1).seconds == 100


def test_disk_counts_what_lies_there_twice_on_the_way():
    by_range = ZipPlan(True, 5, 0, 600, 2, 9_000, "")
    whole = ZipPlan(False, 9, 0, 0, 0, 9_000, "")
    zips = (
        ZipNeed("train", "0", 5, by_range, "", 500),
        ZipNeed("train", "1", 9, whole, "", 8_000),
        ZipNeed("train", "2", 9, None, "it is not there"),
    )
    images = (ImageNeed("train", 2, 70, 2, 0),)
    plan = Plan((), images=images, zips=zips)
    assert plan.image_bytes + plan.mask_bytes == 70 + 600 + 9_000
    assert plan.disk_bytes == 70 + 8_500 + (8_000 + 9_000)
    assert replace(plan, keeps_zips=True).disk_bytes == 70 + 8_500 + 9_000 + 8_000
    assert Plan((), images=images).disk_bytes == 70
