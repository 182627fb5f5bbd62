# SPDX-License-Identifier: Apache-2.0
"""Many databases asked at once whether they can be reached, each by its own account, within the one deadline."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple, cast

from nephoscope.base import ABSENT, NOT_ALLOWED, UNREACHABLE, Failed, Run
from nephoscope.probes import sql

SIDE_BY_SIDE = 32  # connections at a time

# A derived table is answered without any right and without touching a table; it is refused, as every table is, by a Galera node
# that is cut off from its quorum or rejects queries; `SELECT 1` by itself is answered there (MariaDB 10.11, sql_parse.cc).
SERVES = "SELECT @@global.read_only AS fixed FROM (SELECT 1) AS anything"


class Reached(NamedTuple):
    """A connection that works.

    seconds   from the first packet to the answer of the first statement
    server    "MariaDB 10.11.19"
    tls       the protocol, "" without
    local     True through a socket of this machine
    writable  False where the server is read-only, a replica mostly
    note      what else is to be said of it
    """

    of: str
    seconds: float
    server: str
    tls: str
    local: bool
    writable: bool
    database: str
    user: str
    note: str = ""


class Refused(NamedTuple):
    """A server that answers, and does not take the account, password, database or certificate in a service's own file."""

    of: str
    place: str
    error: str


def reach(run: Run, accesses: Sequence[sql.Access | Failed]) -> list[Reached | Refused | Failed]:
    """Return how each connection answers, in their order, all asked side by side."""
    jobs = list(accesses)
    answers: dict[int, Reached | Refused | BaseException] = {}
    todo = [number for number, one in enumerate(jobs) if isinstance(one, sql.Access)]
    for number in todo:  # not in the threads: the time of an import is no time of a server
        sql.prepare(cast("sql.Access", jobs[number]))
    queue = iter(list(todo))

    def work() -> None:
        for number in queue:  # a list's iterator gives each number to one thread only
            try:
                answers[number] = one(run, cast("sql.Access", jobs[number]))
            except BaseException as error:
                answers[number] = error

    threads = [threading.Thread(target=work, daemon=True) for _ in todo[:SIDE_BY_SIDE]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(run.left() + 0.4)  # each of them ends with the deadline by itself
    found: list[Reached | Refused | Failed] = []
    for number, job in enumerate(jobs):
        answer = job if isinstance(job, Failed) else answers.get(number)
        if answer is None:
            answer = Failed(UNREACHABLE, job.of, "log in", "no answer within the deadline")
        if not isinstance(answer, (Reached, Refused, Failed)):
            raise answer
        found.append(answer)
        # One connection of several names: each has its own number, under the name that it has when they part one day.
        for name in job.also if isinstance(job, sql.Access) else ():
            found.append(_as(name, answer))
    return found


def _as(name: str, answer: Reached | Refused | Failed) -> Reached | Refused | Failed:
    return Failed(answer.kind, name, *answer.args[2:]) if isinstance(answer, Failed) else answer._replace(of=name)


def one(run: Run, access: sql.Access) -> Reached | Refused:
    """Return how one connection answers. Raises Failed as sql.connect does."""
    try:
        with sql.connect(run, access) as database:
            if access.kind == "mysql":
                database.writable = database.value(SERVES) in (0, "0", "OFF")
            return Reached(
                access.of,
                database.login,
                database.text,
                database.tls,
                bool(access.socket),
                database.writable is not False,
                access.database,
                access.user,
                access.note,
            )
    except Failed as failed:
        # With an account of the monitoring's own this would be our lack of a right; here it is the answer to the question.
        # What only we lack, a file, a module or the system's user of that account, has another `tried`.
        refused = failed.kind in (NOT_ALLOWED, ABSENT) or failed.error == sql.NO_TLS
        if access.service and failed.tried in (sql.LOG_IN, f"{sql.LOG_IN} to {access.place}") and refused:
            return Refused(access.of, access.place, f"{failed.error} ({access.note})" if access.note else failed.error)
        raise
