# SPDX-License-Identifier: Apache-2.0
"""Is MySQL or MariaDB becoming the bottleneck: full, slow, blocked, or about to run out of something?

For MariaDB 10.3 to 12.x and MySQL 5.7 to 9.x, Percona's and Galera's builds with them. One connection; of counters,
settings and sessions alone, no table of anybody's is read, and the text of no statement. A run takes 6 to 17 statements,
which `--explain` lists, whatever the number of modes and of rows; only `autoincrement` looks at each table's definition: on a
server of thousands of tables give it a service of its own, once an hour. Rates need two runs, and begin anew when the server
was restarted, its counters were reset, or the address leads to another server. MariaDB does not count as refused whom it
turns away at the place that it keeps for an administrator, so a peak above 100 % is a warning until max_connections is raised
or `FLUSH STATUS` said (MariaDB from 11.5 on: `FLUSH GLOBAL STATUS`).
Transactions, queries and blockers are told as user@host: `--exclude 'backup@*'` leaves one out. A node that is cut off from
its Galera cluster answers all of this and serves nobody: that is CRITICAL in every mode; the cluster's other affairs are
check_db_cluster's.

Least rights. An account without any, over TLS if you can, does for login, connections, statements, locks, innodb, temporary,
files, role and uptime, on MariaDB from 10.5 on for deadlocks and history, too:
`CREATE USER 'nagios'@'192.0.2.%' IDENTIFIED BY '...' WITH MAX_USER_CONNECTIONS 3;`
Transactions and queries, and deadlocks and history elsewhere: `GRANT PROCESS ON *.* TO 'nagios'@'192.0.2.%';`
And on MySQL from 8.0 on, who blocks whom: `GRANT SELECT ON performance_schema.data_lock_waits TO 'nagios'@'192.0.2.%';`
Autoincrement, which shows no data: `GRANT REFERENCES ON *.* TO 'nagios'@'192.0.2.%';` (or on each schema of `--schema`).
Binlog, on MariaDB from 10.5.2 on: `GRANT BINLOG MONITOR ON *.* TO 'nagios'@'192.0.2.%';` and elsewhere
`GRANT REPLICATION CLIENT ON *.* TO 'nagios'@'192.0.2.%';`
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Metric, Threshold, duration
from nephoscope.probes import mysql, sql

WORDS = {
    "cut_off": CRITICAL,
    "kept_for_ever": WARNING,
    "role": OK,
    "role_wrong": CRITICAL,
    "role_changed": WARNING,
    "note": OK,
}


def options(add):
    add(
        "--role",
        choices=("primary", "replica"),
        looks=False,
        help="what it should be; else a change is told for a while",
    )
    add(
        "--period",
        type=duration,
        default=3600.0,
        looks=False,
        help="how long a change of the role is told (default 1h)",
    )
    add(
        "--schema",
        repeat=True,
        metavar="NAME",
        help="judge columns that count in this schema alone, which must be visible",
    )
    sql.options(add, kinds=("mysql",))


def probe(options, run):
    with sql.connect(run, sql.access(options, run, kind="mysql")) as db:
        return mysql.look(run, db, options.mode, given=options.mode_given, schemas=options.schema)


def judge(server, options):
    yield from server.failures
    yield from (Metric(one.name, one.value, one.of, detail=one.detail) for one in server.measures)
    yield from (Finding(WORDS[kind], of, text) for kind, of, text in server.standings(options.role, options.period))


MODES = {
    "login": "the log-in, refused and aborted ones",
    "connections": "how full it is, and whom it turned away",
    "statements": "threads that run, slow statements, joins without an index",
    "locks": "waits for rows",
    "deadlocks": "deadlocks",
    "transactions": "long and idle transactions, and idle ones that others wait for",
    "queries": "the longest statement that runs now",
    "history": "old versions of rows that are not purged yet",
    "innodb": "the buffer pool, the redo log, and pending I/O",
    "temporary": "temporary tables on disk",
    "files": "open files and the table cache",
    "role": "whether it takes writes",
    "uptime": "time since the start",
    "autoincrement": "keys that count by themselves, and their type's end",
    "binlog": "size of the binary logs, and whether they are ever removed",
}

CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("tls",),
    keep=lambda server: server.kept,
    signs=sql.SIGNS["mysql"],
    modes=MODES,
    thresholds=[
        Threshold("login", "s", "1", "5", mode="login", main=True, help="connecting, logging in and a first answer"),
        Threshold("connections", "%", "80", "90", mode="connections", main=True, help="sessions, of max_connections"),
        Threshold(
            "connections_peak", "%", "100", mode="connections", help="most at once since the start or FLUSH STATUS"
        ),
        Threshold(
            "running", "", "32", "64", mode="statements", main=True, help="threads that run, the least of 3 readings"
        ),
        Threshold(
            "query", "s", "60", "300", mode="queries", main=True, print="worst", help="statement running longest"
        ),
        Threshold(
            "longest", "s", "300", "1800", mode="transactions", main=True, print="worst", help="age of a transaction"
        ),
        Threshold("idle_transaction", "s", "300", "1800", mode="transactions", print="worst", help="idle within one"),
        Threshold(
            "idle_blocker", "s", "60", "600", mode="transactions", print="worst", help="idle while others wait for it"
        ),
        Threshold("lock_waits", "", "5", "20", mode="locks", main=True, help="transactions that wait for a row now"),
        Threshold("history", "", "100000", "1000000", mode="history", main=True, help="length of the history list"),
        Threshold("pending_io", "", "50", "200", mode="innodb", help="reads, writes and syncs that are not done"),
        Threshold("open_files", "%", "80", "95", mode="files", main=True, help="open files, of open_files_limit"),
        Threshold("uptime", "s", "600:", mode="uptime", main=True, help="time since the server started"),
        Threshold(
            "autoincrement", "%", "75", "90", mode="autoincrement", main=True, print="worst", help="values used up"
        ),
        Threshold("binlog", "B", mode="binlog", main=True, help="size of all binary logs"),
        Threshold("lock_wait_mean", "s", "2", "10", mode="locks", late=True, help="a wait for a row, on average"),
        Threshold("tmp_disk", "%", mode="temporary", main=True, late=True, help="temporary tables that went to disk"),
        Threshold("refused_rate", "", "0", "1", mode="connections", help="refused because it is full"),
        Threshold("aborted_connects_rate", "", "1", "5", mode="login", help="connects that came to nothing"),
        Threshold("denied_rate", "", "1", "10", mode="login", help="refused log-ins and statements"),
        Threshold("aborted_clients_rate", mode="login", help="sessions that ended without a goodbye"),
        Threshold("slow_rate", "", "0.1", "1", mode="statements", help="statements longer than long_query_time"),
        Threshold("full_join_rate", mode="statements", help="joins without an index"),
        # 12 and 60 a minute
        Threshold("deadlocks_rate", "", "0.2", "1", mode="deadlocks", main=True, help="deadlocks"),
        Threshold("wait_free_rate", "", "1", "10", mode="innodb", help="waits for a free page of the buffer pool"),
        Threshold("log_waits_rate", "", "1", "10", mode="innodb", help="waits for room in the log buffer"),
        Threshold("table_cache_rate", "", "10", mode="files", help="tables closed because the cache is full"),
        # The last, as a server with little to do has none.
        Threshold("hit", "%", "99:", "95:", mode="innodb", main=True, late=True, help="page requests met from memory"),
    ],
    runbook="""
By hand, as an account with PROCESS: `SHOW FULL PROCESSLIST; SELECT * FROM information_schema.innodb_trx\\G
SHOW ENGINE INNODB STATUS\\G`, and `SHOW GLOBAL STATUS LIKE 'Threads%'` twice.
Too many connections: `SELECT user, SUBSTRING_INDEX(host, ':', 1) h, COUNT(*) FROM information_schema.processlist GROUP BY 1, 2
ORDER BY 3 DESC` shows whose; workers times pool size of each service must fit into max_connections. A peak above 100 %: it was
full once, and error 1040 in the services' logs tells when. No way in: MariaDB's extra_port, MySQL's admin_address, set up
before it is needed; `-p` takes it.
Rollback after a crash: wait, a restart begins it again. Idle blocker, long or idle transaction: the line names connection and
user@host; find that service's log, restart it, or
`KILL <connection>`, which rolls back: a large transaction takes as long again. Prepared XA: `XA RECOVER; XA ROLLBACK '...'`.
History grows while any snapshot is open: it ends with the longest transaction, then purge catches up.
Slow statements: turn the slow log on (`SET GLOBAL slow_query_log = ON`), read it with mysqldumpslow or pt-query-digest.
Hit ratio low, waits for a free page: innodb_buffer_pool_size against the data in use. For the log: innodb_log_buffer_size.
Refused log-ins: the server's error log (log_warnings=2; MySQL: log_error_verbosity=3) names account and address: a password was
changed in one place only.
Cut off: check_db_cluster, `SHOW STATUS LIKE 'wsrep%'`; never bootstrap before you know which node is the newest.
AUTO_INCREMENT near its end: widen the column to BIGINT while inserts still succeed; archive or purge soft-deleted rows.
Binary logs for ever: `SET GLOBAL expire_logs_days = 10` (MySQL 8: binlog_expire_logs_seconds), and in the configuration file.
""",
)
main = CHECK.main
