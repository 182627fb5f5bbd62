# SPDX-License-Identifier: Apache-2.0
"""A stand-in for sql.Connection: rows by a part of the statement, as they were laid down; what was asked is kept."""

from __future__ import annotations

from nephoscope.base import Failed


class Database:
    """Answers each statement with the rows (or the Failed) of the first part that is in it; [] for none.

    answers  (part of a statement, rows or Failed or a function of the parameters), looked through in order
    """

    def __init__(self, *answers, kind="mysql", flavour="mariadb", version=(10, 11, 19), of="db.example:3306"):
        self.answers, self.kind, self.flavour, self.version, self.of = answers, kind, flavour, version, of
        self.asked = []

    def rows(self, statement, parameters=()):
        self.asked.append((statement, tuple(parameters)))
        for part, answer in self.answers:
            if part in statement:
                answer = answer(*parameters) if callable(answer) else answer
                if isinstance(answer, Failed):
                    raise answer
                return [dict(row) for row in answer]
        return []

    def row(self, statement, parameters=()):
        return next(iter(self.rows(statement, parameters)), {})

    def value(self, statement, parameters=()):
        return next(iter(self.row(statement, parameters).values()), None)
