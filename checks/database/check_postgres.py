# SPDX-License-Identifier: Apache-2.0
"""Is PostgreSQL becoming the bottleneck: connections, transactions, locks, vacuum, checkpoints, WAL?

For PostgreSQL 9.2 to 18. A run makes one connection and asks two statements, whatever the number of modes, and with "sequences"
one for each 500 of them, since a sequence that is read is locked for that moment. All of it comes from the server's statistics
and catalogs, no table is read, and the text of a statement is never fetched. Modes "vacuum" and "sequences" are of the one
database asked (--database); all others of the whole server. On a replica, what only the primary knows (prepared, vacuum,
checkpoints) is left out, and UNKNOWN where it is asked for by name. Rates and shares are over five minutes, that of checkpoints
over an hour; a restart or a reset of the statistics begins them anew. Transactions are told as user@database:
`--exclude 'backup@*'` leaves one out. The files of pg_wal are counted from PostgreSQL 10 on, those that wait for the archiver
from 12 on; before 14 a wait for a lock counts from the start of the statement that waits.

Least rights, PostgreSQL 10 and newer:
`CREATE ROLE nagios LOGIN CONNECTION LIMIT 3 PASSWORD '…'; GRANT pg_monitor TO nagios;` and for "sequences", in each schema:
`GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO nagios;`
`ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA public GRANT SELECT ON SEQUENCES TO nagios;`
The role must inherit (no NOINHERIT). Without pg_monitor the sessions of others are hidden, and the check says so.
PostgreSQL 9.2 to 9.6 have no pg_monitor: a superuser lends the view, in the database asked, instead of the right:
`CREATE SCHEMA nagios; GRANT USAGE ON SCHEMA nagios TO nagios;`
`CREATE FUNCTION nagios.activity() RETURNS SETOF pg_stat_activity LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS
'SELECT * FROM pg_stat_activity'; CREATE VIEW nagios.pg_stat_activity AS SELECT * FROM nagios.activity();`
`GRANT SELECT ON nagios.pg_stat_activity TO nagios; ALTER ROLE nagios SET search_path = nagios, pg_catalog;`
There "settings" leaves out what superusers alone may see, and on a server with replicas "horizon" needs the same function and
view for pg_stat_replication. Modes "login", "connections" (without --pool), "prepared", "work", "wraparound", "vacuum",
"checkpoints" and "checksums" need no grant at all.

Eucalyptus keeps its own server inside the cloud controller: `--preset eucalyptus` knows port, socket, databases and pools. Its
pg_hba.conf lets root alone in by the socket, everybody else with a password over TLS, from the same host too
(`-H CLC --insecure --user nagios`, and in ~/.pgpass of the agent's user `CLC:8777:*:nagios:PASSWORD`). It has database
eucalyptus_shared from 4.1 on; before that name one, such as `--database eucalyptus_cloud`. A pool is one of a host, so sessions
are counted for each client.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Metric, Preset, Threshold
from nephoscope.plugin.options import count, duration, expect
from nephoscope.probes import postgres, sql

WORDS = {"ok": OK, "degraded": WARNING, "failed": CRITICAL, "unknown": UNKNOWN}


def options(add):
    add("--role", choices=("primary", "replica"), looks=False, help="what the server must be; the other is CRITICAL")
    add("--pool", repeat=True, type=expect, metavar="GLOB=N", help="sessions that a client may have in such a database")
    add("--dead-rows", type=count, default=10000, metavar="N", looks=False, help="a table with fewer dead rows is well")
    add("--vacuumed", type=duration, default=86400.0, metavar="DURATION", looks=False, help="so is one vacuumed since")
    sql.options(add, kinds=("postgres",))


def probe(options, run):
    words = {"pools": options.pool, "dead": options.dead_rows, "vacuumed": options.vacuumed}
    with sql.connect(run, sql.access(options, run, "postgres")) as db:
        return postgres.look(run, db, options.mode, given=options.mode_given, **words)


def judge(server, options):
    yield from server.failures
    yield from (Finding(WORDS[kind], of, text) for of, kind, text in server.standings(options.role))
    yield from (Metric(name, value, of, detail=detail) for name, value, of, detail in server.readings)


MODES = {
    "login": "the log-in",
    "connections": "room for clients, and in their pools",
    "transactions": "sessions by state; long and idle transactions, long statements",
    "locks": "who waits for a lock, behind whom; deadlocks",
    "prepared": "transactions prepared and forgotten",
    "horizon": "what keeps dead rows from being removed",
    "work": "hits of the cache, commits, temporary files",
    "wraparound": "age of the oldest transaction identifiers",
    "vacuum": "dead rows of the database asked",
    "checkpoints": "checkpoints that did not wait for their time",
    "wal": "archiver, size of pg_wal, what slots retain",
    "checksums": "damaged pages",
    "sequences": "sequences of the database asked that run out",
    "settings": "restarts, settings that wait for one or lose data",
}

CHECK = Check(
    *(options, probe, judge),
    where=("node", "remote"),
    uses=("tls",),
    answers=("W13",),
    keep=lambda server: server.kept,
    signs=sql.SIGNS["postgres"],
    modes=MODES,
    thresholds=[
        Threshold("login", "s", "1", "5", mode="login", main=True, help="connecting, logging in and a first answer"),
        Threshold(
            "connections", "%", "80", "90", mode="connections", main=True, help="sessions, of what clients may open"
        ),
        Threshold("pool", "%", "80", "95", mode="connections", print="worst", help="sessions of a client, of its pool"),
        Threshold("idle_in_transaction", "", "20", "50", mode="transactions", help="sessions idle in a transaction"),
        Threshold("active", mode="transactions", help="sessions at work"),
        Threshold(
            "longest", "s", "3600", "21600", mode="transactions", main=True, print="worst", help="age of a transaction"
        ),
        Threshold("query", "s", "300", "1800", mode="transactions", print="worst", help="statement running longest"),
        Threshold("idle_transaction", "s", "300", "1800", mode="transactions", print="worst", help="idle within one"),
        Threshold("waiters", "", "5", "20", mode="locks", main=True, help="sessions that wait for a lock"),
        Threshold("waited", "s", "60", "120", mode="locks", help="longest wait for a lock"),
        Threshold(
            "prepared", "s", "60", "600", mode="prepared", main=True, help="age of the oldest prepared transaction"
        ),
        Threshold(
            "xmin_age",
            "",
            "10000000",
            "100000000",
            mode="horizon",
            main=True,
            help="transactions since the oldest snapshot",
        ),
        Threshold(
            "xid",
            "%",
            "50",
            "70",
            mode="wraparound",
            main=True,
            print="worst",
            help="oldest identifier, of all there are",
        ),
        Threshold("mxid", "%", "50", "70", mode="wraparound", print="worst", help="oldest multixact, of all there are"),
        Threshold("freeze", "%", "125", mode="wraparound", print="worst", help="age, of autovacuum_freeze_max_age"),
        Threshold(
            "dead", "%", "20", "40", mode="vacuum", main=True, print="worst", help="dead rows of a table not vacuumed"
        ),
        Threshold("wal", "%", "150", "300", mode="wal", help="size of pg_wal, of max_wal_size and wal_keep_size"),
        Threshold("ready", "", "10", "100", mode="wal", main=True, help="files that wait for the archiver"),
        Threshold("retained", "B", "1073741824", "10737418240", mode="wal", help="WAL that a slot retains"),
        Threshold("checksum_failures", "", None, "0", mode="checksums", main=True, print="worst", help="damaged pages"),
        Threshold("sequence", "%", "75", "90", mode="sequences", main=True, print="worst", help="values used up"),
        Threshold("uptime", "s", "600:", mode="settings", main=True, help="time since the server started"),
        Threshold("forced", "%", "30", mode="checkpoints", main=True, late=True, help="checkpoints asked for, of all"),
        Threshold("hit", "%", mode="work", late=True, help="blocks found in the server's cache"),
        Threshold("rollbacks", "%", mode="work", late=True, help="transactions rolled back"),
        Threshold("commits_rate", mode="work", help="transactions committed"),
        Threshold("temp_rate", "B", "100000000", mode="work", main=True, help="temporary files written"),
        # 10 a minute
        Threshold("deadlocks_rate", "", "0", "0.1667", mode="locks", help="deadlocks"),
        Threshold("conflicts_rate", mode="locks", help="statements of a replica that the primary's changes cancelled"),
        Threshold("wal_rate", "B", mode="wal", help="WAL written"),
    ],
    presets={
        "eucalyptus": Preset(
            "the server inside the cloud controller: port 8777, its socket, its databases and their pools",
            options={
                "port": 8777,
                "socket": "/var/lib/eucalyptus/db/data",
                "database": "eucalyptus_shared",
                "pool": (("eucalyptus_shared", 1024), ("database_events", 8), ("eucalyptus_*", 512)),
            },
        ),
    },
    runbook="""
See it by hand: `psql -XAc 'SELECT pid, usename, datname, state, now() - xact_start FROM pg_stat_activity ORDER BY 5 DESC'`.
Connections: whose they are (`GROUP BY usename, client_addr`); a service with too large a pool, or one whose sessions hang.
Waiters: `SELECT pid, pg_blocking_pids(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'`; of the head of the
queue `pg_terminate_backend(PID)` ends the session and takes its transaction back. A prepared transaction has no session:
`SELECT * FROM pg_prepared_xacts`, ask its owner, then `ROLLBACK PREPARED 'gid'` in its database.
Idle in a transaction: a client that hangs or died behind a firewall; idle_in_transaction_session_timeout ends such by itself.
Horizon: end what holds it: a session, a prepared transaction, a slot that nobody reads (`pg_drop_replication_slot`).
Wraparound: `VACUUM (FREEZE)` of the oldest tables NOW, after ending what holds the horizon; at 100 % the server stops writing.
Archiver: its own words are in the server's log; WAL piles up until the disk is full, then the server stops.
A slot that retains WAL: start its reader, or drop it; a lost one must be made anew with its replica.
Checksum failures: stop, copy the data away, look at the disk, restore from a backup; the count is reset by `pg_stat_reset()`.
Sequence: `ALTER SEQUENCE … AS bigint` and its column with it, which rewrites the table: in a quiet hour.
Forced checkpoints: raise max_wal_size. Temporary files: work_mem of the session that makes them.
""",
)
main = CHECK.main
