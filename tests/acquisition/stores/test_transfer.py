import random
import threading
import time

import pytest
from omegaconf import OmegaConf
from servers import serve

from oiv5_d2.acquisition.stores import Get, Transfer, open_store
from oiv5_d2.acquisition.stores.pace import Pace


def test_pauses_grow_are_spread_and_end_at_half_a_minute():
    transfer, chance = Transfer(), random.Random(0)
    for num_tries, longest in [(1, 0.5), (2, 1.0), (4, 4.0), (7, 30.0), (5000, 30.0)]:
        pauses = [transfer.pause(num_tries, None, chance) for _ in range(500)]
        assert 0 <= min(pauses) < 0.1 * longest
        assert 0.9 * longest < max(pauses) <= longest


def test_a_wish_is_waited_for_up_to_two_minutes():
    transfer, chance = Transfer(), random.Random(0)
    assert 7.0 <= transfer.pause(1, 7.0, chance) <= 7.5
    assert 120.0 <= transfer.pause(1, 86400.0, chance) <= 120.5


def test_the_settings_are_filled_and_checked_by_omegaconf():
    filled = OmegaConf.to_object(
        OmegaConf.merge(OmegaConf.structured(Transfer), {"tries": 2, "deadline_seconds": 5})
    )
    assert filled == Transfer(tries=2, deadline_seconds=5.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("connections", 0), ("connections", 501), ("tries", 0),
     ("request_seconds", 0.0), ("deadline_seconds", -1.0),
     ("max_bytes_per_second", 0), ("stalled_seconds", -2.0), ("max_file_bytes", 0)],
)  # fmt: skip
def test_settings_that_make_no_sense_are_named(name, value):
    with pytest.raises(ValueError, match=f"transfer.{name}={value}: (it has to be|500 at)"):
        Transfer(**{name: value})


def test_a_pace_holds_for_several_threads_together():
    pace = Pace(100_000)
    begin = time.monotonic()

    def take():
        for _ in range(10):
            pace.take(1000)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.35 < time.monotonic() - begin < 10.0


@pytest.mark.parametrize("cap", [200_000, 400_000])
def test_a_cap_holds_over_all_connections(bucket, connect, cap):
    keys = [f"small/{number}" for number in range(20)]  # 100 kB
    with serve(bucket) as server:
        store = connect(server.url, max_bytes_per_second=cap)
        begin = time.monotonic()
        assert sum(len(answer.data) for answer in store.read_many(map(Get, keys))) == 100_190
        assert 0.8 * 100_000 / cap < time.monotonic() - begin < 10.0


def test_a_cap_holds_over_all_stores_of_one_transfer_and_for_streams(bucket):
    with serve(bucket) as server:
        transfer = Transfer(max_bytes_per_second=1_000_000)
        stores = [open_store(server.url, transfer) for _ in range(2)]
        begin = time.monotonic()
        for store in stores:
            pieces = store.stream("big.bin", 2_700_000)
            assert sum(map(len, pieces)) == 300_000
        assert 0.5 < time.monotonic() - begin < 10.0
        for store in stores:
            store.close()


def test_two_stores_share_a_deadline_that_begins_with_the_first(bucket):
    transfer = Transfer(deadline_seconds=60)
    begin = time.monotonic()
    store = open_store("http://127.0.0.1:9", transfer)
    assert begin + 60 <= transfer.deadline <= time.monotonic() + 60
    deadline = transfer.deadline
    time.sleep(0.01)
    open_store(str(bucket), transfer)
    assert transfer.deadline == deadline
    store.close()
