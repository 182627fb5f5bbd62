# SPDX-License-Identifier: Apache-2.0
"""The checks of databases and brokers against real servers, each with the rights that its page says it needs and no more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.lab import mariadb, postgresql, rabbitmq
from tests.lab.support import Daemon, free_port, listening, need, private_folder

PASSWORD = "sesame"
LIMITS: dict[str, float | None] = {
    "check_mysql -H": 12.0,
    "check_postgres --socket": 9.0,
    "check_postgres -H": None,  # as above, and two starts for libpq's 4,096 rounds of SCRAM over a password
    "check_rabbitmq_node -H": 10.0,
    "check_rabbitmq_queues -H": 10.0,
    "check_amqp_roundtrip -H": 10.0,
    "check_memcached -H": 10.0,
}
"""What a run in all its modes may cost, in starts of the bare interpreter."""


@contextlib.contextmanager
def running() -> Iterator[dict[str, list[str]]]:
    """Start the servers; give name (as in LIMITS) -> command line without its directory. The password is in the environment."""
    with contextlib.ExitStack() as stack:
        maria = stack.enter_context(mariadb.server(stack.enter_context(private_folder())))
        maria.sql(f"CREATE USER monitor@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'")
        maria.sql("GRANT PROCESS, REFERENCES, SLAVE MONITOR, BINLOG MONITOR ON *.* TO monitor@'127.0.0.1'")
        hba = f"local all monitor trust\n{postgresql.HBA}"
        postgres = stack.enter_context(postgresql.server(stack.enter_context(private_folder()) / "server", hba=hba))
        postgres.sql(f"CREATE ROLE monitor LOGIN PASSWORD '{PASSWORD}'; GRANT pg_monitor TO monitor")
        rabbit = stack.enter_context(rabbitmq.node(stack.enter_context(private_folder())))
        rabbit.user(
            "monitor", PASSWORD, "monitoring", {"/": ("^nephoscope", "^nephoscope|^amq.default$", "^nephoscope")}
        )
        rabbit.queue("reports")
        (memcached,) = need("memcached")
        cache = free_port()
        stack.enter_context(
            Daemon([memcached, "-l", "127.0.0.1", "-p", str(cache), "-U", "0", "-u", "nobody"], ready=listening(cache))
        )
        before = os.environ.get("NEPHOSCOPE_PASSWORD")
        os.environ["NEPHOSCOPE_PASSWORD"] = PASSWORD
        try:
            ports = (maria.port, postgres.port, postgres.port, rabbit.api, rabbit.api, rabbit.port, cache)
            targets = {name: [*name.split(), "127.0.0.1", "-p", str(port)] for name, port in zip(LIMITS, ports)}
            targets["check_postgres --socket"][2] = postgres.socket
            yield {
                name: argv if argv[-1] == str(cache) else [*argv, "--user", "monitor"] for name, argv in targets.items()
            }
        finally:
            del os.environ["NEPHOSCOPE_PASSWORD"]
            if before is not None:
                os.environ["NEPHOSCOPE_PASSWORD"] = before
