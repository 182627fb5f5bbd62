# SPDX-License-Identifier: Apache-2.0
"""One small page by one plain GET, read and let go: for services that are asked every minute and must not feel it.

No connection is kept: `Connection: close` goes with the request, and the socket is closed as soon as the body is there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run

LIMIT = 1 << 20  # bytes; the pages that are read this way have a few thousand


class Page(NamedTuple):
    """A page that was answered with 200.

    of       "host:port" that was asked, as it stands in messages
    seconds  from the first packet to the last byte
    text     the body, undecodable bytes replaced
    """

    of: str
    seconds: float
    text: str


def get(run: Run, options: Any, path: str, port: int) -> Page:
    """GET a path of the host that the options of the group "http" name (127.0.0.1 without -H).

    port  where -p does not say otherwise
    Raises Failed: unreachable (refused, silent, cut, 5xx), not-allowed (401, 403, a certificate), unreadable (any other status
    but 200, no HTTP, larger than LIMIT), late.
    """
    from nephoscope.base.http import Session

    begun = run.clock.monotonic()
    with Session.to(run, options, port=port, limit=LIMIT) as session:
        response = session.request("GET", path, headers={"Connection": "close"})
        of = session.of
    if response.status != 200:
        kind = UNREACHABLE if response.status >= 500 else UNREADABLE
        kind = NOT_ALLOWED if response.status in (401, 403) else kind
        # Where a redirect leads, without what may be a token.
        there = response.headers.get("location", "").partition("?")[0][:100]
        raise Failed(kind, of, f"GET {path}", f"HTTP {response.status}{f', to {there}' if there else ''}")
    return Page(of, run.clock.monotonic() - begun, response.body.decode("utf-8", "replace"))
