"""Many requests under way at once, over libcurl's multi interface, from one thread."""

import heapq
import random
import time
from collections.abc import Generator, Iterator

import pycurl

from oiv5_d2.acquisition.stores.lanes import Lane
from oiv5_d2.acquisition.stores.replies import Reply, judge
from oiv5_d2.acquisition.stores.signature import Signature
from oiv5_d2.acquisition.stores.store import Check, DamagedError, Head, NoRangesError, StoreError
from oiv5_d2.acquisition.stores.tasks import Refusal, Task
from oiv5_d2.acquisition.stores.transfer import Transfer

_MAX_WAITING = 1024  # tasks that wait for another try: then nothing new is begun
_MAX_FAILED = 64  # tasks that fail without being begun, at a time
_MAX_PAGE_BYTES = 64 << 10  # of a page that tells of an error
_SLOWEST_BYTES_PER_SECOND = 50_000  # under a cap, rather fewer connections than slower ones
_MAX_BYTES_UNDER_WAY = 64 << 20  # of long parts rather fewer at a time: they are held in memory
_LONGEST_WAIT_SECONDS = 0.5


class Exchange:
    """Requests under way over connections that are kept.

    Args:
        transfer: the settings.
        chance: draws the pauses before another try.
        signature: signs every request; None for none.
    """

    def __init__(
        self, transfer: Transfer, chance: random.Random, signature: Signature | None = None
    ) -> None:
        self._transfer, self._chance, self._signature = transfer, chance, signature
        cap = transfer.pace.max_bytes_per_second
        self._is_capped = cap is not None
        self._max_lanes = transfer.connections
        if cap is not None:
            self._max_lanes = min(self._max_lanes, max(1, cap // _SLOWEST_BYTES_PER_SECOND))
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, transfer.connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, transfer.connections)
        self._idle: list[Lane] = []
        self._busy: dict[pycurl.Curl, Lane] = {}
        self._waiting: list[tuple[float, int, Task]] = []  # until when; in which order they came
        self._num_waited = self._num_replies = self._num_under_way = 0
        self._hopeless: StoreError | None = None
        self._check: Check | None = None
        self._has_ranges: bool | None = None  # whether the server gives parts; None: not known yet

    def run(self, tasks: Iterator[Task], check: Check | None = None) -> Iterator[Task]:
        """Carry out tasks; yield each when it is done, with its data, or head, or error.

        What was asked next is on its way while the caller looks at a task that is done. Data that
        `check` refuses are asked for again.
        """
        self._check = check
        done: list[Task] = []
        self._hopeless = None
        try:
            while True:
                failed = self._fill(tasks)
                self._perform()
                while done:  # each is let go of when it is taken
                    yield done.pop()
                yield from failed
                done = self._collect()
                if not done and not failed:
                    if not self._busy and not self._waiting:
                        return
                    self._wait()
        finally:
            self._drop()

    def pieces(self, task: Task) -> Generator[bytes, None, Refusal | None]:
        """Carry out one try at a stream; yield what arrives as it arrives, and move its place.

        Returns:
            Why it ended early; None where it came to the file's end.
        """
        lane, is_good = self._begin(task), False
        try:
            while True:
                if time.monotonic() > self._transfer.deadline:
                    return Refusal(self._late())
                self._perform()
                if lane.chunks and not is_good:
                    refusal, is_good = self._look_early(task, lane)
                    if refusal:
                        return refusal
                if lane.chunks:
                    piece = lane.take_piece()
                    task.place += len(piece)
                    yield piece
                elif ends := self._ends():
                    return self._look(task, lane.reply(*ends[0][1:]))
                else:
                    self._wait()
        finally:
            self._drop()

    def refuse(self, task: Task, refusal: Refusal) -> float | None:
        """Note that a try failed; return the pause before the next, or None; see `Task.refuse`."""
        pause = task.refuse(refusal, self._transfer, self._chance, self._has_ranges)
        if isinstance(task.error, NoRangesError):
            self._has_ranges = False
        return pause

    def close(self) -> None:
        """End all connections."""
        self._drop()
        for lane in self._idle:
            lane.curl.close()
        self._multi.close()

    def _fill(self, tasks: Iterator[Task]) -> list[Task]:
        """Begin what there is room for; return the tasks that fail without being begun."""
        now = time.monotonic()
        failed: list[Task] = []
        if now > self._transfer.deadline:
            self._hopeless = self._late()
        if self._hopeless:
            failed += self._drop()
        while self._has_room and len(failed) < _MAX_FAILED:
            task = self._next(tasks, now)
            if task is None:
                break
            if self._hopeless or not task.url:
                failed.append(task)
            else:
                self._begin(task)
        for task in failed:
            task.error = task.error or self._hopeless
        return failed

    @property
    def _has_room(self) -> bool:
        return len(self._busy) < self._max_lanes and self._num_under_way < _MAX_BYTES_UNDER_WAY

    def _next(self, tasks: Iterator[Task], now: float) -> Task | None:
        """Return a task whose pause is over, or else a new one; None where there is neither."""
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        return next(tasks, None) if len(self._waiting) < _MAX_WAITING else None

    def _begin(self, task: Task) -> Lane:
        if not task.num_tries:
            task.num_replies = self._num_replies
        lane = self._idle.pop() if self._idle else Lane(self._transfer, self._signature)
        lane.begin(task)
        self._busy[lane.curl] = lane
        self._num_under_way += task.num_wanted or 0
        self._multi.add_handle(lane.curl)
        return lane

    def _free(self, lane: Lane) -> None:
        self._multi.remove_handle(lane.curl)
        self._num_under_way -= lane.task.num_wanted or 0
        del self._busy[lane.curl], lane.task  # the task holds its data
        self._idle.append(lane)

    def _perform(self) -> None:
        self._multi.perform()
        if self._is_capped:
            num_bytes = sum(lane.num_unweighed() for lane in self._busy.values())
            self._transfer.pace.take(num_bytes, self._transfer.deadline)

    def _wait(self) -> None:
        """Wait until something arrives, or a pause is over, or libcurl has something to do."""
        now = time.monotonic()
        until = min(now + _LONGEST_WAIT_SECONDS, self._transfer.deadline)
        if self._waiting:
            until = min(until, self._waiting[0][0])
        seconds = max(0.0, until - now)
        if not self._busy:
            time.sleep(seconds)
            return
        milliseconds = self._multi.timeout()
        self._multi.select(seconds if milliseconds < 0 else min(seconds, milliseconds / 1000))

    def _ends(self) -> list[tuple[Lane, int, str]]:
        """Return the lanes that came to an end, with libcurl's number and words for a failure."""
        ends: list[tuple[Lane, int, str]] = []
        num_left = 1
        while num_left:
            num_left, succeeded, failed = self._multi.info_read()
            ends += [(self._busy[curl], 0, "") for curl in succeeded]
            ends += [(self._busy[curl], errno, message) for curl, errno, message in failed]
        return ends

    def _collect(self) -> list[Task]:
        """Return the tasks that are done; those that are to be tried again wait."""
        done = []
        for lane, errno, message in self._ends():
            task = lane.task
            if self._settle(lane, errno, message):
                done.append(task)
            self._free(lane)
        return done

    def _settle(self, lane: Lane, errno: int, message: str) -> bool:
        """Take a task's result from a lane that came to an end; return whether it is done."""
        task = lane.task
        if task.is_plain and not errno and lane.is_simply_good():
            self._num_replies += 1
        else:
            reply = lane.reply(errno, message)
            if refusal := self._look(task, reply):
                return self._refuse(task, refusal, is_answered=reply.status > 0)
            if task.kind == "head":
                task.head = Head(reply.length, task.etag)
        data = lane.take_piece()
        if task.num_wanted is not None:  # all of a file may have come for its beginning
            data = data[: task.num_wanted]
        if self._check:
            try:
                self._check(data)
            except ValueError as error:
                return self._refuse(task, Refusal(DamagedError(str(error)), may_pass=True))
        task.num_tries += 1
        task.data = data
        return True

    def _look(self, task: Task, reply: Reply) -> Refusal | None:
        self._num_replies += reply.status > 0
        refusal = judge(task, reply, self._transfer)
        if reply.status == 206 and refusal is None:
            self._has_ranges = True
        return refusal

    def _look_early(self, task: Task, lane: Lane) -> tuple[Refusal | None, bool]:
        """Judge the beginning of a stream; return why it will not do, and whether it will."""
        reply = lane.reply()
        if 200 <= reply.status < 300 or reply.num_bytes > _MAX_PAGE_BYTES:
            refusal = self._look(task, reply)
            return refusal, refusal is None
        lane.take_piece()  # of a page that tells of an error: that is judged at its end
        return None, False

    def _refuse(self, task: Task, refusal: Refusal, is_answered: bool = True) -> bool:
        """Note that a try failed; return whether it was the last."""
        pause = self.refuse(task, refusal)
        if pause is not None:
            self._num_waited += 1
            due = time.monotonic() + pause
            heapq.heappush(self._waiting, (due, self._num_waited, task))
            return False
        if not (is_answered or self._is_served_since(task)):
            self._hopeless = StoreError(str(task.error))  # the server is gone
        return True

    def _is_served_since(self, task: Task) -> bool:
        """Tell whether anybody was answered, or is just being, since a task was first asked."""
        is_answered = task.num_replies < self._num_replies
        return is_answered or any(lane.is_answered() for lane in self._busy.values())

    def _drop(self) -> list[Task]:
        """End what is under way or waits, and return it; connections in use are lost."""
        tasks = [lane.task for lane in self._busy.values()] + [item[2] for item in self._waiting]
        self._waiting.clear()
        for lane in list(self._busy.values()):
            self._free(lane)
        return tasks

    def _late(self) -> StoreError:
        return StoreError(f"the deadline of {self._transfer.deadline_seconds:g} s passed")
