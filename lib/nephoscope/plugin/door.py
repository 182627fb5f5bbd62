# SPDX-License-Identifier: Apache-2.0
"""The one door by which a plugin leaves: one answer on stdout, exit code 0 to 3, whatever happens.

Three things end a run that does not end by itself. A timer interrupts what Python can interrupt; SIGTERM and its like do the
same. A thread answers a moment later for what Python can't interrupt: a name that is looked up, code that swallows the
interruption. What even a thread can't end, a process in uninterruptible sleep, belongs into a child (base/child.py).
"""

from __future__ import annotations

import _thread
import fcntl
import os
import select
import signal
import sys
import time
from typing import Any, NoReturn

from nephoscope.base import Clock
from nephoscope.plugin.check import Check, Execution, Outcome, Signalled
from nephoscope.plugin.model import UNKNOWN

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
PATIENCE = 0.3  # seconds for an interruption to be answered by the main thread
DELIVERY = 1.0  # seconds for a reader to take the answer


class Watch:
    """Knows what ended the run, answers when the main thread does not, and sees to it that only one answers."""

    def __init__(self, execution: Execution, stdout: int) -> None:
        self.execution, self.stdout = execution, stdout
        self.first: int | None = None  # the signal that decides
        self.seconds = 0.0
        self._end = float("inf")
        self._claim, self._wake = _thread.allocate_lock(), _thread.allocate_lock()
        self._wake.acquire()

    def arm(self, seconds: float) -> None:
        """Set the deadline, in seconds from the start of the run."""
        self.seconds = seconds
        left = max(0.01, self.execution.started + seconds - time.monotonic())
        self._end = time.monotonic() + left + PATIENCE
        signal.setitimer(signal.ITIMER_REAL, left)
        self._poke()

    def on_signal(self, number: int, _frame: Any) -> None:
        """Interrupt the main thread, once; the next ones change nothing."""
        if self.first is None:
            self.first = number
            run = self.execution.run
            owing = run.owing if run else 0.0
            self._end = min(self._end, time.monotonic() + PATIENCE) if not owing else time.monotonic() + owing
            self._poke()
            if not run:
                raise Signalled(number)
            run.interrupt(Signalled(number))

    def _poke(self) -> None:
        if self._wake.locked():
            self._wake.release()

    def guard(self) -> None:
        """Answer when the main thread is late: the body of the thread."""
        while True:
            left = self._end - time.monotonic()
            if left <= 0:
                break
            self._wake.acquire(timeout=min(left, 3600.0))
        if self.claim():
            outcome = self.interrupted()
            _write(self.stdout, outcome.text)
            os._exit(outcome.state)

    def claim(self) -> bool:
        """Return True to the first who asks: the one who answers."""
        return self._claim.acquire(False)

    def interrupted(self) -> Outcome:
        """Return the outcome of a run that was ended: by what, and in which stage."""
        execution = self.execution
        stages = execution.run.stages if execution.run else []
        stage = f" while it was to {stages[-1]}" if stages else ""
        if self.first is not None and self.first != signal.SIGALRM:
            return execution.trouble(f"ended by {signal.Signals(self.first).name}{stage}")
        state = execution.options.timeout[1] if execution.options else None
        text = f"not done within its deadline of {self.seconds:g} s{stage}"
        return execution.trouble(text, state=UNKNOWN if state is None else state, ran=True)


def leave_by(check: Check) -> NoReturn:
    """Run a check for this process's arguments, print its answer, exit. See `Check.main`."""
    stdout = _private_stdout()
    argv = sys.argv[1:]
    if not any(word.startswith("-vvv") for word in argv):
        _silence(2)
    execution = Execution(check, argv, "", Clock(), stdout >= 0 and os.isatty(stdout))
    watch = Watch(execution, stdout)
    execution.armed = watch.arm
    outcome: Outcome | None = None
    while outcome is None:
        try:
            if watch.first is None:
                for number in SIGNALS:
                    signal.signal(number, watch.on_signal)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # whoever started us may have blocked them
                _thread.start_new_thread(watch.guard, ())
                watch.arm(check.deadline)
                outcome = execution.outcome()
            else:
                outcome = watch.interrupted()
        except Signalled:
            continue
        except BaseException as error:  # nothing may go out by another door
            line = f"{check.title} UNKNOWN - bug in the frame: {type(error).__name__}"
            outcome = Outcome(UNKNOWN, line)
    if not watch.claim():
        while True:  # the thread is answering: it ends the process
            time.sleep(1)
    # A reader that does not read holds us up no longer than this; and SIGTERM still ends us.
    for number in SIGNALS:
        signal.signal(number, lambda *_: os._exit(outcome.state))
    signal.setitimer(signal.ITIMER_REAL, DELIVERY)
    if _write(stdout, outcome.text):
        outcome.finish()
    # Not sys.exit: a hung thread, an abandoned child or a library's exit handler must not hold the answer up.
    os._exit(outcome.state)


def _private_stdout() -> int:
    """Move stdout out of the reach of libraries that print; return its new number, -1 if it was closed."""
    try:
        os.fstat(1)
        closed = False
    except OSError:
        closed = True
    # Fill the holes that a closed stdin, stdout or stderr left: a file opened later must not become one of them.
    while True:
        filler = os.open(os.devnull, os.O_RDWR)
        if filler > 2:
            os.close(filler)
            break
    if closed:
        return -1
    stdout = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 10)
    _silence(1)
    return stdout


def _silence(descriptor: int) -> None:
    """Send a descriptor's output to nowhere: Icinga takes stderr into the plugin's output, before line 1."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)


def _write(stdout: int, text: str) -> bool:
    """Print once, in UTF-8 whatever the locale says; return whether a reader got it all."""
    data = (text + "\n").encode("utf-8", "replace")  # SIGPIPE: Python ignores it from its start
    while data and stdout >= 0:
        try:
            data = data[os.write(stdout, data) :]
        except BlockingIOError:
            poller = select.poll()
            poller.register(stdout, select.POLLOUT)
            if not poller.poll(DELIVERY * 1000):
                return False
        except OSError:
            return False
    return not data
