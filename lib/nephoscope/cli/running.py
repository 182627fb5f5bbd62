# SPDX-License-Identifier: Apache-2.0
"""Run checks side by side, each in a child process of its own, so that none can take the others with it."""

from __future__ import annotations

import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from nephoscope.plugin import UNKNOWN

GRACE = 2.0  # seconds past its deadline after which a check that has not answered is ended
LIMIT = 4 << 20  # bytes of one answer; a check prints at most 60 KiB
TICK = 0.1  # seconds between two looks at the clock, and two moves of the progress


class Job(NamedTuple):
    """One check to run: `look()` is called in the child and returns its Outcome; `label` is what the table calls it."""

    name: str
    argv: tuple[str, ...]
    label: str
    look: Callable[[], Any]
    seconds: float = 8.0
    late: int = UNKNOWN


class Result(NamedTuple):
    """What became of one job; `items` and `perfdata` are plain JSON as the check's outcome has them."""

    name: str
    argv: tuple[str, ...]
    label: str
    state: int
    reason: str
    line: str = ""
    text: str = ""
    items: Any = ()
    perfdata: Any = ()
    absent: bool = False
    seconds: float = 0.0


class Runner:
    """Runs jobs, at most `parallel` at a time. Single-threaded: forking is safe, and stays so."""

    def __init__(self, jobs: Sequence[Job], *, parallel: int = 4, seconds: float | None = None) -> None:
        self.waiting = list(jobs)
        self.total = len(jobs)
        self.running: dict[int, _Child] = {}
        self.results: list[Result] = []
        self.parallel = max(1, parallel)
        self.began = time.monotonic()
        self.end = None if seconds is None else self.began + seconds
        self.stopped = ""  # why it ended early

    def stop(self, why: str) -> None:
        """End the run at the next look; what has not answered by then is UNKNOWN. Safe in a signal handler."""
        self.stopped = self.stopped or why

    def run(self, tell: Callable[[], None] = lambda: None) -> list[Result]:
        """Run everything; `tell()` is called whenever there may be news. Returns the results in order of arrival."""
        with selectors.DefaultSelector() as selector:
            while (self.waiting or self.running) and not self.stopped:
                while self.waiting and len(self.running) < self.parallel:
                    child = _Child(self.waiting.pop(0))
                    self.running[child.pid] = child
                    selector.register(child.pipe, selectors.EVENT_READ, child)
                tell()
                for key, _ in selector.select(TICK):
                    if not key.data.read():
                        time.sleep(0.002)  # a closed pipe is always ready: its process is about to end
                for child in list(self.running.values()):
                    result = child.result()
                    if result is not None:
                        selector.unregister(child.pipe)
                        self._done(child, result)
                if self.end is not None and time.monotonic() >= self.end:
                    self.stop("the time for the whole run is over")
        for child in list(self.running.values()):
            self._done(child, child.unfinished(self.stopped))
        for job in self.waiting:
            self.results.append(Result(*job[:3], UNKNOWN, f"not run: {self.stopped}"))
        self.waiting = []
        tell()
        return self.results

    def _done(self, child: _Child, result: Result) -> None:
        del self.running[child.pid]
        child.close()
        self.results.append(result)


class _Child:
    """A forked child, session leader, that answers one line of JSON through a pipe."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.began = time.monotonic()
        self.data = bytearray()
        self.status: int | None = None
        self.pipe, answer = os.pipe()
        self.noise = os.memfd_create("noise")  # what it, or a library in it, printed
        self.pid = os.fork()
        if self.pid == 0:
            _answer(job, answer, self.noise)
        os.close(answer)
        os.set_blocking(self.pipe, False)

    def read(self) -> bool:
        """Take what the pipe has; False when there was nothing."""
        try:
            data = os.read(self.pipe, 1 << 16)
        except BlockingIOError:
            return False
        self.data += data
        return bool(data)

    def result(self) -> Result | None:
        """Return what became of it, or None while it runs.

        The end of the pipe says nothing: a grandchild that hangs in the kernel keeps it open. So the answer ends with a
        newline, and death is asked of the process itself.
        """
        if self.data.endswith(b"\n"):
            return self._result()
        if len(self.data) > LIMIT:
            return self.unfinished(f"answered more than {LIMIT >> 20} MiB")
        if self._dead():
            self.read()  # written between the last look and its death
            if self.data.endswith(b"\n"):
                return self._result()
            return self._broken(f"ended without an answer, {self._how()}{self._tail()}")
        if time.monotonic() - self.began > self.job.seconds + GRACE:
            return self.unfinished(f"no answer {GRACE:g} s after its deadline of {self.job.seconds:g} s", self.job.late)
        return None

    def unfinished(self, why: str, state: int = UNKNOWN) -> Result:
        """End it, and say why."""
        self._kill()
        return self._broken(f"{why}: ended", state)

    def close(self) -> None:
        """Give back what the parent holds. A child that cannot die is abandoned, not waited for."""
        patience = time.monotonic() + 1.0
        while not self._dead():  # it has answered or was killed: only the kernel can hold it now
            if time.monotonic() > patience:
                self._kill()
                break
            time.sleep(0.002)
        os.close(self.pipe)
        os.close(self.noise)

    def _result(self) -> Result:
        try:
            return Result(*self.job[:3], seconds=self._seconds(), **json.loads(self.data))
        except (ValueError, TypeError) as error:
            return self._broken(f"its answer is not understood: {error}")

    def _broken(self, reason: str, state: int = UNKNOWN) -> Result:
        return Result(*self.job[:3], state, reason, seconds=self._seconds())

    def _seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)

    def _dead(self) -> bool:
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = status if pid else None
        return self.status is not None

    def _how(self) -> str:
        code = os.waitstatus_to_exitcode(self.status or 0)
        return f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit status {code}"

    def _tail(self) -> str:
        size = os.fstat(self.noise).st_size
        lines = os.pread(self.noise, 2000, max(0, size - 2000)).decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        printable = "".join(letter if letter.isprintable() else "?" for letter in last)
        return f": {printable[:200]}" if printable else ""

    def _kill(self) -> None:
        """Kill it and what it started; those of its children that lead a session of their own are found by parentage."""
        import psutil

        try:
            below = psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            below = []
        for end in (os.killpg, os.kill):  # the group is its own once it got to setsid
            try:
                end(self.pid, signal.SIGKILL)
            except OSError:
                pass
        for process in below:
            try:
                process.kill()  # psutil compares the start time: never another process of the same number
            except psutil.Error:
                pass


def _answer(job: Job, pipe: int, noise: int) -> None:
    """Be the child: look, answer, end. Never returns."""
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(noise, 1)
        os.dup2(noise, 2)
        outcome = job.look()
        answer = {field: getattr(outcome, field) for field in Result._fields[3:-1]}
        answer["reason"] = answer["reason"] or answer["line"]  # a page, or another format, was asked for
        data = json.dumps(answer, default=str).encode() + b"\n"
        while data:
            data = data[os.write(pipe, data) :]
        status = 0
    except BaseException as error:  # whatever it is: the parent says it, and the other checks go on
        try:
            os.write(2, f"\n{type(error).__name__}: {error}\n".encode(errors="replace"))
        except OSError:
            pass
    finally:
        os._exit(status)
