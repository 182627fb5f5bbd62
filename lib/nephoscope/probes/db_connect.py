# SPDX-License-Identifier: Apache-2.0
"""Many databases asked at once whether they can be reached, each by its own account, within the one deadline."""

from __future__ import annotations

import _thread
from collections.abc import Sequence
from typing import NamedTuple

from nephoscope.base import UNREACHABLE, Failed, Run
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
    also      names of further connections that are this one
    """

    of: str
    seconds: float
    server: str
    tls: str
    local: bool
    writable: bool
    database: str
    user: str
    also: tuple[str, ...] = ()


def reach(run: Run, accesses: Sequence[sql.Access | Failed]) -> list[Reached | Failed]:
    """Return how each connection answers, in their order, all asked side by side; what --exclude leaves out is not asked."""
    jobs = [one for one in accesses if isinstance(one, Failed) or run.wants(one.of)]
    answers: dict[int, Reached | Failed | BaseException] = {}
    todo = [number for number, one in enumerate(jobs) if isinstance(one, sql.Access)]
    for number in todo:  # not in the threads: the time of an import is no time of a server
        sql.prepare(jobs[number])  # type: ignore[arg-type]
    queue = iter(list(todo))
    done = _thread.allocate_lock()
    done.acquire()

    def work() -> None:
        for number in queue:  # a list's iterator gives each number to one thread only
            access = jobs[number]
            try:
                answers[number] = one(run, access)  # type: ignore[arg-type]
            except BaseException as error:
                answers[number] = error
            if len(answers) == len(todo):
                done.release()

    for _ in todo[:SIDE_BY_SIDE]:
        _thread.start_new_thread(work, ())
    if todo:
        done.acquire(timeout=run.left() + 0.4)  # each of them ends with the deadline by itself
    found: list[Reached | Failed] = []
    for number, job in enumerate(jobs):
        answer = job if isinstance(job, Failed) else answers.get(number)
        if answer is None:
            answer = Failed(UNREACHABLE, job.of, "log in", "no answer within the deadline")
        if not isinstance(answer, (Reached, Failed)):
            raise answer
        found.append(answer)
    return found


def one(run: Run, access: sql.Access) -> Reached:
    """Return how one connection answers. Raises Failed as sql.connect does."""
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
            access.also,
        )
