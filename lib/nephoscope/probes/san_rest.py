# SPDX-License-Identifier: Apache-2.0
"""What the arrays that speak REST share: JSON out of any answer, pages that end, and the words for what went wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from nephoscope.base import LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed
from nephoscope.probes.guest import Guest
from nephoscope.probes.san import Part, Place, Speed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nephoscope.base.http import Response

PAGES = 200  # of one list, at most
ROWS = 50_000  # of one list, at most
NOT_ASKED = "not asked: "
REST = "the array fell silent, the rest was not asked for"
BUSY = (429, 503)  # too many requests, or the management service has no room for another session
WORST = ("absent", "ok", "spare", "rebuilding", "unknown", "degraded", "failed")


class Rest:
    """Questions to one array, in one session. What is not answered is told in `lost`, once for each kind of part.

    guest  the session
    right  how to grant the right that a refusal (403) lacks
    """

    def __init__(self, guest: Guest, right: str) -> None:
        self.guest, self.right = guest, right
        self.lost: list[Failed] = []
        self._silent: Failed | None = None

    def ask(
        self,
        path: str,
        of: str = "",
        method: str = "GET",
        content: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make one request and return the JSON of its answer, None where a success has no body.

        Raises Failed: unreachable (refused, silent, cut, busy, HTTP 5xx), not-allowed (401, 403), unreadable (HTML, no
        JSON, any other status); after one silence the array is asked no more. No body is ever quoted: it may be a token.
        """
        response = self.raw(method, path, of, content, headers)
        tried = f"{method} {path.partition('?')[0]}"
        status = response.status
        if status in (401, 403):
            raise Failed(NOT_ALLOWED, of, tried, f"HTTP {status}", self.right)
        if status in BUSY:
            raise Failed(UNREACHABLE, of, tried, f"the array is busy (HTTP {status})")
        if status >= 500:
            raise Failed(UNREACHABLE, of, tried, f"HTTP {status}")
        if status not in (200, 201, 202, 204):
            raise Failed(UNREADABLE, of, tried, f"HTTP {status}")
        data = response.body.strip()
        if not data:
            return None
        if data.startswith(b"<"):
            raise Failed(UNREADABLE, of, tried, "answered HTML: is this the array's management address?")
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise Failed(UNREADABLE, of, tried, "the answer is not JSON") from None

    def raw(
        self, method: str, path: str, of: str = "", content: Any = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Make one request, with JSON as its body, and return the answer whatever its status. Raises Failed."""
        if self._silent:
            raise Failed(self._silent.kind, of, self._silent.tried, f"{NOT_ASKED}{self._silent.error}")
        body = None if content is None else json.dumps(content).encode()
        kind = {"Content-Type": "application/json"} if body else {}
        try:
            return self.guest.request(method, path, body, {**kind, **(headers or {})})
        except Failed as failed:
            failed = Failed(failed.kind, of, failed.tried, failed.error, failed.cure)
            if failed.kind in (UNREACHABLE, LATE):
                self._silent = failed
            raise failed from None

    def thing(self, path: str, of: str = "") -> dict[str, Any]:
        """GET one object. Raises Failed as `ask` does, and unreadable for what is no object."""
        answer = self.ask(path, of)
        if not isinstance(answer, dict):
            raise Failed(UNREADABLE, of, f"GET {path.partition('?')[0]}", "the answer is no JSON object")
        return answer

    def rows(
        self,
        kinds: str | Sequence[str],
        path: str,
        key: str,
        following: Callable[[dict[str, Any]], Any] | None = None,
        must: bool = False,
    ) -> list[dict[str, Any]]:
        """Return all objects of a list, over all its pages; what could not be had stands in `lost`, the rest is returned.

        kinds      the kinds of parts that are missing when it fails, the first one is the list's own
        key        where in an answer the list stands
        following  what an answer says of the next page: a path of the same host, or "" (None: it has no pages)
        must       every array has some of these: an empty list is what a missing right gives
        """
        found: list[dict[str, Any]] = []
        seen: set[str] = set()
        of = kinds if isinstance(kinds, str) else kinds[0]
        tried = f"GET {path.partition('?')[0]}"
        try:
            while path:
                if path in seen or len(seen) >= PAGES or len(found) > ROWS:
                    raise Failed(UNREADABLE, of, tried, f"pages without an end: {len(seen)} were read")
                seen.add(path)
                answer = self.thing(path, of)
                entries = answer.get(key)
                if not isinstance(entries, list):
                    raise Failed(UNREADABLE, of, tried, f"the answer has no list {key!r}")
                objects = [entry for entry in entries if isinstance(entry, dict)]
                found += objects
                if len(objects) < len(entries):
                    raise Failed(UNREADABLE, of, tried, f"{len(entries) - len(objects)} entries are no objects")
                path = self._same_host(following(answer) if following else "", of, tried)
            if must and not found:
                raise Failed(NOT_ALLOWED, of, tried, "the list is empty, as without the right to see it", self.right)
        except Failed as failed:
            self.lose(kinds, failed)
        return found

    def lose(self, kinds: str | Sequence[str], failed: Failed) -> None:
        """Note that parts of these kinds could not be looked at; after a silence once, for all the rest."""
        if failed.error.startswith(NOT_ASKED):
            rest = Failed(failed.kind, "", failed.tried, REST)
            self.lost += [] if rest in self.lost else [rest]
            return
        for kind in (kinds,) if isinstance(kinds, str) else kinds:
            self.lost.append(Failed(failed.kind, kind, failed.tried, failed.error, failed.cure))

    def measured(self, speeds: Iterable[Speed], error: str) -> list[Speed]:
        """Return the speeds of which something is told; when none is, that is lost: silence is not speed."""
        made = [speed for speed in speeds if speed != Speed(speed.name)]
        if not made and not any(failed.of in ("", "performance") for failed in self.lost):
            self.lose("performance", Failed(UNREADABLE, "", "ask for the speed", error))
        return made

    def _same_host(self, link: Any, of: str, tried: str) -> str:
        """Return the path of a link to the next page; it must not lead elsewhere: the password goes with it."""
        if not link:
            return ""
        from urllib.parse import urlsplit

        here = urlsplit(self.guest.http.base)
        try:
            parts = urlsplit(str(link))
            there = (parts.hostname, parts.port or here.port) if parts.netloc else (here.hostname, here.port)
        except ValueError:
            raise Failed(UNREADABLE, of, tried, "the link to the next page is no address") from None
        if there != (here.hostname, here.port) or not parts.path.startswith("/"):
            raise Failed(UNREADABLE, of, tried, "the link to the next page leads elsewhere")
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


def basic(place: Place) -> str:
    """Return the header of HTTP Basic. Raises Failed (not-allowed) when user or password was not given."""
    import base64

    if not (place.user and place.password):
        raise Failed(
            NOT_ALLOWED, "", "log in", "no --user and --password were given", "a read-only account's, by --extra-opts"
        )
    return "Basic " + base64.b64encode(f"{place.user}:{place.password}".encode()).decode()


def refused(failed: Failed, cure: str) -> Failed:
    """Return what a refusal of the first request means: the log-in."""
    if failed.kind == NOT_ALLOWED and failed.error.startswith("HTTP "):
        return Failed(NOT_ALLOWED, "", "log in", f"refused: {failed.error}", cure)
    return failed


def dig(thing: Any, path: str) -> Any:
    """Return what stands at "a.b.c" in nested objects, None where there is nothing."""
    for name in path.split("."):
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def things(thing: Any, path: str) -> list[dict[str, Any]]:
    """Return the objects of the list that stands at "a.b.c", none where there is no such list."""
    value = dig(thing, path)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """Return a finite number that is not negative as float, None for everything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        made = float(value)
    except OverflowError:
        return None
    return made if math.isfinite(made) and made >= 0 else None


def text(*values: Any, limit: int = 120) -> str:
    """Return the first of these that is a word or a number, as one short line, "" without any."""
    for value in values:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool) and str(value).strip():
            return " ".join(str(value).split())[:limit]
    return ""


def worse(*healths: str) -> str:
    """Return the worst of some words of health; a spare that is otherwise well is a spare."""
    return max(healths, key=WORST.index)


def peak(*values: float | None) -> float | None:
    """Return the largest of those that were told, None when none was."""
    told = [value for value in values if value is not None]
    return max(told) if told else None


def total(*values: float | None) -> float | None:
    """Return the sum of those that were told, None when none was."""
    told = [value for value in values if value is not None]
    return sum(told) if told else None


def distinct(parts: Iterable[Part]) -> list[Part]:
    """Return the parts with a number behind each name that its kind already has: names are unique."""
    seen: dict[str, int] = {}
    made = []
    for part in parts:
        seen[part.of] = seen.get(part.of, 0) + 1
        again = seen[part.of]
        made.append(part if again == 1 else part._replace(name=f"{part.name} ({again})".strip()))
    return made
