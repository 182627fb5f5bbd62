# SPDX-License-Identifier: Apache-2.0
"""What the frame lends a probe: time left, the wall clock, what was kept last time, the filters, the test root."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from typing import Any

    from nephoscope.base.cache import Cache

KEPT_BACK = 1.0  # seconds of every deadline that belong to the answer


class Collecting:
    """The value of a rate that has no earlier sample yet; with a `why`, of one that is not told for that reason."""

    def __init__(self, why: str = "") -> None:
        self.why = why

    def __repr__(self) -> str:
        return "COLLECTING"


COLLECTING = Collecting()


class Clock:
    """All the clocks of a run; `shift` seconds ahead, so that a test can make the second run of a rate."""

    def __init__(self, shift: float = 0.0) -> None:
        self.shift = shift

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC: deadlines. Not shifted, a test waits for nothing."""
        return time.monotonic()

    def boottime(self) -> float:
        """Seconds since boot, suspended time included (CLOCK_BOOTTIME, man clock_gettime): rates."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) + self.shift

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time() + self.shift


class Run:
    """One run of one check, as its probe sees it.

    seconds  the whole deadline; `left()` keeps one second of it back
    before   what the check kept last time, plain JSON, or None
    root     prefix of every path given to `path()`: "" in life, a recorded tree in tests
    """

    def __init__(
        self,
        seconds: float = 8.0,
        before: Any = None,
        *,
        root: str = "",
        clock: Clock | None = None,
        cache_directory: str = "",
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        hung: dict[str, Any] | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.before = before
        self.root = root
        self.include, self.exclude = tuple(include), tuple(exclude)
        self.left_out: set[str] = set()
        self.stages: list[str] = []
        self.hung: dict[str, Any] = hung if hung is not None else {}
        self._cache: Cache | None = None
        self._cache_directory = cache_directory
        self.owing = 0.0
        self._holding = False
        self._interruption: BaseException | None = None
        self.seconds = seconds
        self._end = self.clock.monotonic() + max(seconds - KEPT_BACK, seconds / 2)

    def left(self) -> float:
        """Return the seconds that may still be used, never negative; the answer's share is not in it."""
        return max(0.0, self._end - self.clock.monotonic())

    def held(self, ask: Callable[[], Any], owing: float) -> Any:
        """Return what `ask` gives: a log-in or a log-out, in which a signal must wait, lest a session be left behind.

        The signal's exception comes when `ask` has returned, so it must itself put the session where `finally` finds it.
        owing  seconds for which the frame's answer waits from now on, when a signal or the deadline ends the run: for the
               log-out; 0 when nothing is owed any more
        """
        self.owing, before = max(owing, self.owing), self.owing
        self._holding = True
        try:
            answer = ask()
            before = owing
        finally:
            self._holding, self.owing = False, before
            if self._interruption:
                raise self._interruption
        return answer

    def interrupt(self, error: BaseException) -> None:
        """Raise what ends the run, at once or when what is `held` has come to its end. The frame's."""
        self._interruption = error
        if not self._holding:
            raise error

    def now(self) -> datetime:
        """Return the time of day, aware, UTC."""
        from datetime import datetime, timezone

        return datetime.fromtimestamp(self.clock.time(), timezone.utc)

    def stage(self, text: str) -> None:
        """Say what is asked of whom, now: the deadline's message names the last one, --explain lists all."""
        if len(self.stages) < 200:
            self.stages.append(text)
        else:
            self.stages[-1] = text

    def path(self, path: str) -> str:
        """Return an absolute path below the test root."""
        return self.root + path if self.root else path

    def wants(self, name: str) -> bool:
        """Return whether --include and --exclude leave this object in; what they leave out is remembered and said."""
        if not self.include and not self.exclude:
            return True
        wanted = (not self.include or any(fnmatchcase(name, glob) for glob in self.include)) and not any(
            fnmatchcase(name, glob) for glob in self.exclude
        )
        if not wanted:
            self.left_out.add(name)
        return wanted

    @property
    def cache(self) -> Cache:
        """The cache of tokens and snapshots, opened on first use."""
        if self._cache is None:
            from nephoscope.base.cache import Cache

            self._cache = Cache(self._cache_directory, self.clock)
        return self._cache


class Share:
    """A run with less time, for one of several that are asked: who is silent must leave some for the next."""

    def __init__(self, run: Run, seconds: float) -> None:
        self._run, self._end = run, run.clock.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that may still be used, of the share and of the run."""
        return max(0.0, min(self._run.left(), self._end - self._run.clock.monotonic()))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)
