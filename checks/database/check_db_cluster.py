# SPDX-License-Identifier: Apache-2.0
"""Is replication intact: Galera primary and synced, or replicas and standbys following closely?

It finds out by itself what a server is: a MariaDB or MySQL with wsrep is a Galera node, one with connections to primaries is a
replica (every connection or channel counts), a PostgreSQL in recovery is a standby, one with standbys or slots a primary.
A server that replicates nothing is UNKNOWN; a mode asked for by name says what the server should be, and another thing is
CRITICAL: wsrep off with `--mode galera`, a promoted standby with `--mode standby`, a replica without a primary.

Galera: `SELECT 1` and SHOW answer on a node that is cut off; so a real table is asked, too. Ask every member (`--node`, one for
each): then two clusters, a split view and a missing member are seen. How many members there should be says `--size`; without
it fewer than in the last day only warn, and so does an even number: of two nodes that lose each other both stop (an arbitrator
makes it odd, `--size 2` says that it is meant). Lags are zero while nothing arrives, so they count only where both threads run,
or the WAL receiver is there. What was connected in the last day and is no more is missed; `--expect` makes that CRITICAL.
Commits that wait for a synchronous standby which is not there are CRITICAL, semi-synchronous ones that wait no more a WARNING.
A primary that froze shows when its replica's time-out is over (slave_net_timeout, wal_receiver_timeout: 60 s unless changed).

For MariaDB 10.2 to 11, MySQL 5.7 to 9 (group replication is not looked at) and PostgreSQL 10 to 18. Least grants:
Galera: `CREATE USER 'nagios'@'%' IDENTIFIED BY '...'` and no grant at all, with `--mode galera`. Replicas:
`GRANT SLAVE MONITOR ON *.* TO 'nagios'@'%'` (MariaDB since 10.5.9), `GRANT REPLICATION CLIENT ON *.* TO 'nagios'@'%'`
(MySQL, MariaDB to 10.4). PostgreSQL: `CREATE ROLE nagios LOGIN CONNECTION LIMIT 3; GRANT pg_monitor TO nagios`.
Cost for each server: one session; two SHOW, one row of mysql.help_topic and SHOW ALL SLAVES STATUS (two looks more while flow
control is active), or one SELECT from PostgreSQL's statistics views (up to three of one position on a standby that seems to
lag). No table of anybody's is read.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Check, Finding, Grant, Metric, Threshold
from nephoscope.plugin.options import count, duration, expect
from nephoscope.probes import replication, sql

STATES = {
    OK: "serves",
    WARNING: "joining desynced closed held delayed fewer shrunk alone even vanished catching_up paused unreserved "
    "asynchronous",
    CRITICAL: "off cut_off not_ready refuses donor_refuses foreign split minority stopped reconnecting missing lost wrong_role "
    "hangs",
    UNKNOWN: "unknown",
}
WORDS = {word: state for state, words in STATES.items() for word in words.split()}
MODES = {
    "galera": "a node of Galera and its cluster",
    "replica": "a replica of MySQL or MariaDB",
    "standby": "a standby of PostgreSQL",
    "primary": "who follows this server",
    "slots": "PostgreSQL's replication slots",
}


def options(add):
    sql.options(add)
    add("--node", repeat=True, metavar="HOST[:PORT]", help="ask this server, too, with the same account")
    add(
        "--size",
        type=count,
        metavar="N",
        help="members that the Galera cluster should have, arbitrators counted (an even number warns unless it is this one)",
    )
    add(
        "--expect",
        repeat=True,
        type=expect,
        metavar="NAME[=N]",
        help="a standby (application name, slot, address), channel or primary that must stream",
    )
    add("--read-only", choices=("on", "off"), help="whether the server should take no writes")
    add(
        "--remember",
        type=duration,
        default=86400.0,
        looks=False,
        help="how long what streamed, or a larger cluster, is missed",
    )


def probe(options, run):
    return replication.look(run, options)


def judge(cluster, options):
    yield from cluster.failures
    yield from (Finding(WORDS[word], of, text) for of, word, text in cluster.standings())
    yield from (Metric(value.name, value.value, value.of, detail=value.detail) for value in cluster.values())
    if cluster.answered:
        yield Finding(OK, "", cluster.summary)


CHECK = Check(
    *(options, probe, judge),
    where=("remote", "node"),
    uses=("tls",),
    needs=[Grant("GRANT SLAVE MONITOR (MariaDB), REPLICATION CLIENT (MySQL) or pg_monitor")],
    keep=lambda cluster: cluster.kept,
    modes=MODES,
    thresholds=[
        Threshold("size", mode="galera", help="members of the Galera cluster"),
        Threshold("recv_queue", "", "100", "1000", mode="galera", help="writes received and not applied"),
        Threshold("send_queue", "", "10", "100", mode="galera", help="writes that wait for the network"),
        Threshold("donor", "s", "1800", mode="galera", help="how long a node is Donor/Desynced"),
        Threshold("joining", "s", None, "1800", mode="galera", help="how long a node is joining"),
        Threshold("deps_distance", mode="galera", help="writes that could be applied side by side"),
        Threshold("lag", "s", "60", "300", main=True, help="seconds behind the primary, beyond a wanted delay"),
        Threshold("replicas", mode="primary", help="replicas connected to a MariaDB"),
        Threshold("standbys", mode="primary", help="standbys that stream from a PostgreSQL"),
        Threshold("behind", "B", "16777216", "268435456", help="WAL that is not yet replayed"),
        Threshold("silent", "s", "60", "300", mode="standby", help="since the primary last said anything"),
        Threshold("retained", "B", "1073741824", "10737418240", mode="slots", help="WAL that a slot keeps"),
        Threshold(
            "flow_paused",
            "%",
            "5",
            "10",
            mode="galera",
            late=True,
            help="share of time in which flow control stopped writes",
        ),
        Threshold(
            "conflicts", "%", "1", "5", mode="galera", late=True, help="transactions that lost against another node's"
        ),
        Threshold(
            "gcache", "s", "3600:", None, mode="galera", late=True, help="outage that needs no whole copy afterwards"
        ),
        Threshold("repl_latency", "s", mode="galera", late=True, help="mean time of a write to all members"),
    ],
    runbook="""
By hand, Galera: `SHOW GLOBAL STATUS LIKE 'wsrep_%'` on EVERY node. All of them cut off: no majority is left. Find the one with
the highest `wsrep_last_committed` (down: `seqno` in grastate.dat, `mariadbd --wsrep-recover`), and on that one alone
`SET GLOBAL wsrep_provider_options='pc.bootstrap=1'` (down: `galera_new_cluster`); doing it on two makes two clusters.
Cut off on one: its network to the others (ports 4567, 4568, 4444); it comes back by itself.
Refuses queries: `SET GLOBAL wsrep_reject_queries=NONE`; desynced: `SET GLOBAL wsrep_desync=OFF`. Donor for long: a backup, or a
session that holds FLUSH TABLES WITH READ LOCK (`SHOW PROCESSLIST`).
Held back, or a long receive queue: the slowest node holds all; `wsrep_flow_control_sent` names it; look at its disk and locks.
Two clusters: take one out of the balancer NOW; its writes since the split are lost or merged by hand.
Replica stopped: `SHOW REPLICA STATUS\\G` has the whole error. Duplicate key or missing row: somebody wrote on the replica;
make it anew rather than skip. The primary lost that log: anew, too. Reconnecting: the primary, the way to it, the account.
Lag: one long transaction (`SHOW PROCESSLIST`), a table without primary key, disks slower than the primary's.
PostgreSQL: `SELECT * FROM pg_stat_replication`, `pg_stat_wal_receiver`, `pg_replication_slots`; the standby's log. Paused:
`SELECT pg_wal_replay_resume()`. Commits wait: bring the standby back, or take it out of synchronous_standby_names and reload.
A slot that nobody uses keeps WAL until the primary's disk is full: start its consumer, or
`SELECT pg_drop_replication_slot('NAME')`. Lost: pg_basebackup anew. Two primaries: fence the old one before anything else.
""",
)
main = CHECK.main
