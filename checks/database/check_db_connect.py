# SPDX-License-Identifier: Apache-2.0
"""Can every service reach its database with the credentials it really uses, and how fast?

With `--from-service-file /etc/nova/nova.conf` (repeatable) it logs in with every connection that the service's configuration
names, `connection`, `slave_connection` and the like of each section, read as oslo.config reads them, NAME.conf.d included; side
by side, each an object of its own, `nova [api_database]`. `--preset openstack` finds the files of the services that are here.
Connections that differ in nothing but their name are asked once. Without such a file it is one connection, by options, my.cnf,
pg_service.conf and libpq's environment; without any option it is to the one server that has its socket here (with --type a
server that is gone is CRITICAL, without it nothing says that there should be one). `-H` beside a service's file asks another
server with the same accounts: a single node behind the virtual address.

A log-in that is refused with the service's own account is CRITICAL, the answer to the question; with an account that options
name it is UNKNOWN, as everywhere, and says what is missing. So is what another user can't try: an account that is the system's
user (peer, unix_socket), a password in the service's own ~/.pgpass, a private key that is the service's alone.

The time is that of connect, TLS, log-in and one statement. A second one is answered by no Galera node that is cut off from its
quorum, joins, or rejects queries; such a node still answers `SELECT 1`. Serves MySQL 5.6 to 8.4, MariaDB 10.1 to 11 and
PostgreSQL 9.3 to 18.

Least grants: none, where a service's own account is used (the file must be readable: its group). Else, MySQL and MariaDB:
`CREATE USER 'nephoscope'@'10.0.0.%' IDENTIFIED BY '…' WITH MAX_USER_CONNECTIONS 5`; PostgreSQL:
`CREATE ROLE nephoscope LOGIN PASSWORD '…' CONNECTION LIMIT 5`.
Cost: one connection, four short statements on MySQL, one on PostgreSQL, no table read.
"""

from __future__ import annotations

from nephoscope.base import Failed
from nephoscope.plugin import CRITICAL, OK, Check, Finding, Metric, Preset, Threshold
from nephoscope.probes import db_connect, oslo_conf, sql


def options(add):
    sql.options(add)
    add(
        "--writable",
        flag=True,
        help="a server that is read-only, a replica mostly, is CRITICAL (slave_connection is not)",
    )


def probe(options, run):
    return db_connect.reach(run, sql.accesses(options, run, chosen=True))


def judge(connections, options):
    reached = [one for one in connections if isinstance(one, db_connect.Reached)]
    yield from (one for one in connections if isinstance(one, Failed))
    for one in connections:
        if isinstance(one, db_connect.Refused):
            yield Finding(CRITICAL, one.of, f"the service can't log in to {one.place}: {one.error}")
    if reached:
        yield Finding(OK, "", f"{len(reached)} of {len(connections)} connections work")
        yield Metric("unencrypted", sum(not one.tls and not one.local for one in reached))
    for one in reached:
        how = "through a socket" if one.local else one.tls or "without TLS"
        where = f"{one.server}, {one.user}@{one.database or '-'}, {how}{'' if one.writable else ', read-only'}"
        where += f", {one.note}" if one.note else ""
        wrong = options.writable and not one.writable and "slave" not in one.of
        yield Finding(CRITICAL if wrong else OK, one.of, "the server is read-only" if wrong else where)
        yield Metric("login", one.seconds, of=one.of)


CHECK = Check(
    options,
    probe,
    judge,
    where=("remote", "node"),
    uses=("tls",),
    presets={
        "openstack": Preset(
            "the configuration of every OpenStack service that is installed here",
            options={"from_service_file": oslo_conf.SERVICES},
        )
    },
    thresholds=[
        Threshold("login", "s", "1", "5", main=True, help="from the first packet to the first answer"),
        Threshold("unencrypted", help="connections over the network without TLS"),
    ],
    runbook="""
See it by hand, with the account's own file: `mysql --defaults-extra-file=FILE -h HOST -e 'SELECT 1 FROM (SELECT 1) t'`;
`psql "host=HOST user=USER dbname=DATABASE" -c 'SELECT 1'`.
Refused or silent: is the server there (`systemctl status mariadb postgresql`), does the load balancer have a server behind the
address (haproxy's statistics), does a firewall drop? From which hosts else does it fail?
Log-in refused: was a password changed in the file and not in the database, or the other way round? The service itself goes on
with the connections that it has, and fails at its next restart.
Too many connections: `SHOW PROCESSLIST` or pg_stat_activity tells whose; a worker count or pool size was raised somewhere.
The node is not ready: Galera lost its quorum; check_db_cluster tells which nodes see each other. Bring back the missing ones;
bootstrap one by hand only when the others are known to be dead.
Slow: name resolution of the server (skip_name_resolve), a full accept queue, or a host without CPU: check_mysql, check_load.
""",
)
main = CHECK.main
