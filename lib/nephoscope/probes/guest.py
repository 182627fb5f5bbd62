# SPDX-License-Identifier: Apache-2.0
"""A session on a device that has few of them: opened once, and given back on every way out, a signal included.

Arrays and management controllers keep a lost session for half an hour and then refuse everybody: what is taken is returned
also when the run ends by its deadline, by SIGTERM or by an error of ours.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from nephoscope.base import Failed, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.http import Response, Session

LOGOUT = 1.5  # seconds held back of the deadline for the log-out


class _Until:
    """A run that ends at a moment of its own, as far as a session asks it."""

    def __init__(self, stage: Callable[[str], object], end: Callable[[], float]) -> None:
        self.stage, self.left = stage, end


class Guest:
    """One HTTP session on a device, and its log-out. `with Guest(run, "https://array", **trust) as guest: guest.enter(log_in)`.

    http     the connection; all of its requests end LOGOUT seconds before the run's deadline
    headers  what every request carries: put the token there
    count    requests made, log-in and log-out included
    """

    def __init__(self, run: Run, base: str, **words: Any) -> None:
        from nephoscope.base.http import Session

        early: Any = _Until(run.stage, lambda: max(0.0, run.left() - LOGOUT))
        self.run = run
        self.http: Session = Session(early, base, **words)
        self.headers: dict[str, str] = {"Accept": "application/json"}
        self.count = 0
        self._leave: Callable[[], object] | None = None

    def __enter__(self) -> Guest:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._leave:
                if kind is None or issubclass(kind, Exception):  # a signal's message names what it cut short
                    self.run.stage(f"log out of {self.http.of}")
                self.run.held(self._goodbye, 0.0)
        finally:
            self.http.close()

    def _goodbye(self) -> None:
        leave, self._leave = self._leave, None
        end = time.monotonic() + LOGOUT
        # Its path is told nowhere: that of some arrays has the session's key.
        last: Any = _Until(lambda _: None, lambda: max(0.0, end - time.monotonic()))
        self.http.run = last
        try:
            status = getattr(leave() if leave else None, "status", 200)
            if status >= 400:
                self.run.stage(f"log out of {self.http.of}: HTTP {status}")
        except Failed as failed:  # the device ends the session by itself, later
            self.run.stage(f"log out of {self.http.of}: {failed.error}")

    def enter(self, log_in: Callable[[], Callable[[], object] | None]) -> None:
        """Log in. `log_in` makes the request, puts the token into `headers`, and returns what logs out (None: no session).

        A signal that comes meanwhile waits until then. Raises what `log_in` raises.
        """

        def ask() -> None:
            self._leave = log_in()

        self.run.held(ask, LOGOUT)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make one request, as `base.http.Session.request` does, with the session's headers."""
        self.count += 1
        return self.http.request(method, path, body, {**self.headers, **(headers or {})})

    def json(self, path: str) -> Any:
        """GET a path and return its JSON, as `base.http.Session.json` does."""
        self.count += 1
        return self.http.json(path, self.headers)
