# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: S608 - pieces of our own are put together; what comes from outside goes in as a parameter
"""The statements that `postgres` asks a PostgreSQL server, from version 9.2 to 18: pure text.

Sources: the manual of each version, chapters "Monitoring Database Activity" and "System Catalogs" (monitoring-stats.html,
view-pg-locks.html, view-pg-replication-slots.html, functions-admin.html), and its release notes for what moved:
9.3.3 multixacts, 9.4 slots, backend_xmin and pg_stat_archiver, 9.5 pending_restart, 9.6 wait_event_type and pg_blocking_pids,
10 backend_type, pg_monitor, pg_sequence and "wal" for "xlog", 12 checksum_failures and pg_ls_archive_statusdir, 13 wal_status,
14 pg_locks.waitstart, 16 reserved_connections, 17 pg_stat_checkpointer.

Views are named without their schema on purpose: before version 10, which has pg_monitor, a role may be given views of the same
names in a schema that stands before pg_catalog in its search_path. No statement fetches the text of another, in which
tokens occur.
"""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 100  # waiting sessions, tables, sequences that are fetched
DEAD, VACUUMED = 10000, 86400.0  # rows, seconds
SESSIONS = ("transactions", "locks", "horizon")  # modes that look at other roles' sessions
NAMES = ("max_connections", "superuser_reserved_connections", "reserved_connections", "autovacuum_freeze_max_age",
         "autovacuum_multixact_freeze_max_age", "max_wal_size", "wal_keep_size", "wal_keep_segments", "wal_segment_size",
         "data_checksums", "archive_mode", "autovacuum", "track_counts", "fsync", "full_page_writes")  # fmt: skip
LOCK = (
    "locktype",
    "database",
    "relation",
    "page",
    "tuple",
    "virtualxid",
    "transactionid",
    "classid",
    "objid",
    "objsubid",
)


def _rows(select: str) -> str:
    """Return an expression that gives all rows of a select as JSON, in words that PostgreSQL 9.2 knows."""
    return f"(SELECT array_to_json(array_agg(row_to_json(r))) FROM ({select}) r)"


def first(version: Sequence[int]) -> str:
    """Return the statement that tells what the rest may ask."""

    def right(function: str, least: int) -> str:
        return f"has_function_privilege('{function}()', 'execute')" if tuple(version) >= (least,) else "false"

    names = ", ".join(f"'{name}'" for name in NAMES)
    # Without this right pg_settings has no row of a setting that is for superusers to see, such as shared_preload_libraries.
    settings = "pg_has_role('pg_read_all_settings', 'usage')"
    if tuple(version) < (10,):
        settings = "(SELECT rolsuper FROM pg_roles WHERE rolname = current_user)"
    return (
        "SELECT current_user::text AS role, current_database()::text AS database, pg_is_in_recovery() AS replica,"
        " extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS uptime,"
        f" {_epoch('pg_postmaster_start_time()')} AS started, {settings} AS all_settings,"
        " (SELECT bool_and(setting = '') FROM pg_settings WHERE name IN ('archive_command', 'archive_library')) AS no_command,"
        f" {right('pg_ls_waldir', 10)} AS waldir, {right('pg_ls_archive_statusdir', 12)} AS ready,"
        f" {_rows(f'SELECT name, setting, unit FROM pg_settings WHERE name IN ({names})')} AS settings"
    )


def _seconds(since: str) -> str:
    return f"greatest(0, extract(epoch FROM now() - {since}))::float8"


def _epoch(moment: str) -> str:
    return f"extract(epoch FROM {moment})::float8"


WHO = 'pid, usename AS "user", datname AS database, left(application_name, 40) AS application, state'


def _clients(version: Sequence[int]) -> str:
    """Return the condition that a row of pg_stat_activity is a client's: no walsender, no worker, none of the server's own."""
    if tuple(version) >= (10,):
        return "backend_type = 'client backend'"
    return "left(query, 11) <> 'autovacuum:' AND pid NOT IN (SELECT pid FROM pg_stat_replication)"


def second(
    version: Sequence[int], modes: Sequence[str], *, replica: bool = False, may: Sequence[str] = (), pools: bool = False,
    dead: int = DEAD, vacuumed: float = VACUUMED,
) -> str:  # fmt: skip
    """Return the statement that asks for the facts of all modes but sequences, as one row of JSON.

    may             "waldir", "ready": what the role may call
    pools           sessions by database and client, too
    dead, vacuumed  of tables those with so many dead rows, not vacuumed for so many seconds
    """
    version, wanted = tuple(version), set(modes)
    ask: dict[str, str] = {}
    if wanted & {"connections", "work", "locks"}:
        ask["databases"] = _rows(
            "SELECT datid::bigint AS id, numbackends, xact_commit, xact_rollback, blks_read, blks_hit, temp_bytes,"
            f" deadlocks, conflicts, {_epoch('stats_reset')} AS reset FROM pg_stat_database"
        )
    if "connections" in wanted and version < (12,):  # until then a sender of WAL took one of max_connections
        ask["senders"] = "(SELECT count(*) FROM pg_stat_replication)"
    if wanted & set(SESSIONS) or pools:
        ask["masked"] = "(SELECT count(*) FROM pg_stat_activity WHERE query = '<insufficient privilege>')"
        ask["disabled"] = "(SELECT count(*) FROM pg_stat_activity WHERE state = 'disabled')"
    if pools:
        ask["pools"] = _rows(
            "SELECT datname AS database, coalesce(host(client_addr), 'the socket') AS client, count(*) AS number"
            f" FROM pg_stat_activity WHERE {_clients(version)} AND pid <> pg_backend_pid() GROUP BY 1, 2"
        )
        ask["names"] = "(SELECT array_to_json(array_agg(datname)) FROM pg_database)"
    if "transactions" in wanted:
        _ask_transactions(ask, version)
    if "locks" in wanted:
        ask["waits"] = _waits(version)
    if "prepared" in wanted:
        ask["prepared"] = _rows(
            f'SELECT gid, owner AS "user", database, {_seconds("prepared")} AS seconds, count(*) OVER () AS number'
            " FROM pg_prepared_xacts ORDER BY prepared LIMIT 1"
        )
    if "horizon" in wanted:
        ask["masked_senders"] = "(SELECT count(*) FROM pg_stat_replication WHERE state IS NULL)"
        ask["horizon"] = _rows(f"SELECT * FROM ({_holders(version)}) h ORDER BY age DESC LIMIT 1")
    if "wraparound" in wanted:
        multi = "mxid_age(datminmxid)" if version >= (9, 5) else "NULL::int"
        ask["wraparound"] = _rows(f"SELECT datname AS name, age(datfrozenxid) AS xid, {multi} AS mxid FROM pg_database")
    if "vacuum" in wanted:
        ask["tables"] = _tables(dead, vacuumed)
    if "checkpoints" in wanted:
        view = (
            ("num_requested", "num_timed", "checkpointer")
            if version >= (17,)
            else ("checkpoints_req", "checkpoints_timed", "bgwriter")
        )
        ask["checkpoints"] = _rows(
            f"SELECT {view[0]} AS forced, {view[1]} AS timed, {_epoch('stats_reset')} AS reset FROM pg_stat_{view[2]}"
        )
    if "wal" in wanted:
        _ask_wal(ask, version, replica, may)
    if "checksums" in wanted:
        ask["checksums"] = _rows(
            "SELECT coalesce(datname, 'shared objects') AS name, checksum_failures AS failures,"
            f" {_seconds('checksum_last_failure')} AS seconds FROM pg_stat_database"
        )
    if "settings" in wanted and version >= (9, 5):
        ask["pending"] = (
            "(SELECT array_to_json(array_agg(name::text ORDER BY name)) FROM pg_settings WHERE pending_restart)"
        )
    return f"SELECT {', '.join(f'{text} AS {name}' for name, text in ask.items()) or '1 AS nothing'}"


def _tables(dead: int, vacuumed: float) -> str:
    """Return an expression for the tables with dead rows that nobody vacuums, the worst first.

    Functions and not pg_stat_all_tables, which also counts each table's indexes. Not temporary tables: only their session could
    vacuum them. A TOAST table goes by the name of the table whose it is.
    """
    return _rows(
        f"SELECT name, dead, 100.0::float8 * dead / (dead + live) AS share, {_seconds('vacuumed')} AS vacuumed,"
        " vacuumed IS NULL AS never"
        " FROM (SELECT n.nspname || '.' || coalesce(o.relname || ' (TOAST)', c.relname) AS name,"
        " pg_stat_get_dead_tuples(c.oid) AS dead, pg_stat_get_live_tuples(c.oid) AS live,"
        " greatest(pg_stat_get_last_vacuum_time(c.oid), pg_stat_get_last_autovacuum_time(c.oid)) AS vacuumed"
        " FROM pg_class c LEFT JOIN pg_class o ON c.relkind = 't' AND o.reltoastrelid = c.oid"
        " JOIN pg_namespace n ON n.oid = coalesce(o.relnamespace, c.relnamespace)"
        " WHERE c.relkind IN ('r', 'm', 't') AND c.relpersistence <> 't') t"
        f" WHERE dead >= {max(1, int(dead))} AND coalesce(vacuumed < now() - interval '1 second' * {vacuumed:.0f}, true)"
        f" ORDER BY share DESC, dead DESC LIMIT {LISTED}"
    )


def _ask_transactions(ask: dict[str, str], version: Sequence[int]) -> None:
    others = f"FROM pg_stat_activity WHERE {_clients(version)} AND pid <> pg_backend_pid()"
    ask["states"] = _rows(f"SELECT state, count(*) AS number {others} GROUP BY state")
    for name, since, which in (
        ("longest", "xact_start", "xact_start IS NOT NULL"),
        ("query", "query_start", "state = 'active'"),
        ("idle_transaction", "state_change", "left(state, 19) = 'idle in transaction'"),
    ):
        ask[name] = _rows(
            f"SELECT DISTINCT ON (usename, datname) {WHO}, {_seconds(since)} AS seconds {others} AND {which}"
            f" ORDER BY usename, datname, {since}"
        )


def _ask_wal(ask: dict[str, str], version: Sequence[int], replica: bool, may: Sequence[str]) -> None:
    version = tuple(version)
    position = ("pg_current_wal_lsn()", "pg_last_wal_replay_lsn()")[replica]
    minus = "pg_wal_lsn_diff"
    if version < (10,):
        position = ("pg_current_xlog_location()", "pg_last_xlog_replay_location()")[replica]
        minus = "pg_xlog_location_diff"
    ask["archiver"] = _rows(
        f"SELECT archived_count AS archived, last_failed_wal AS segment, {_seconds('last_failed_time')} AS seconds,"
        " last_failed_time IS NOT NULL AND last_failed_time > coalesce(last_archived_time, '-infinity') AS failing"
        " FROM pg_stat_archiver"
    )
    ask["slots"] = _rows(
        f"SELECT slot_name AS name, active, {'wal_status' if version >= (13,) else 'NULL::text'} AS status,"
        f" greatest(0, {minus}({position}, restart_lsn))::float8 AS retained FROM pg_replication_slots"
    )
    ask["position"] = f"{minus}({position}, '0/0')::float8"
    if "waldir" in may:
        ask["waldir"] = "(SELECT coalesce(sum(size), 0)::float8 FROM pg_ls_waldir())"
    if "ready" in may:
        ask["ready"] = "(SELECT count(*) FROM pg_ls_archive_statusdir() WHERE right(name, 6) = '.ready')"


def _waits(version: Sequence[int]) -> str:
    """Return an expression for the sessions that wait for a lock, longest first, and for those that they wait for.

    pg_blocking_pids stops the lock manager for a moment, so it is asked for the first `LISTED` alone. A 0 among its answers is
    a prepared transaction, which has no session.
    """
    since, join = _seconds("a.state_change"), ""
    if tuple(version) >= (14,):
        since = _seconds("coalesce(w.since, a.state_change)")
        join = " LEFT JOIN (SELECT pid, min(waitstart) AS since FROM pg_locks WHERE NOT granted GROUP BY pid) w USING (pid)"
    waits = "a.wait_event_type = 'Lock'" if tuple(version) >= (9, 6) else "a.waiting"
    blockers = "pg_blocking_pids(pid)"
    if tuple(version) < (9, 6):
        same = " AND ".join(f"g.{name} IS NOT DISTINCT FROM l.{name}" for name in LOCK)
        blockers = (
            "ARRAY(SELECT coalesce(g.pid, 0) FROM pg_locks l JOIN pg_locks g ON g.granted AND g.pid IS DISTINCT FROM l.pid"
            f" AND {same} WHERE NOT l.granted AND l.pid = waiting.pid)"
        )
    waiting = (
        f"SELECT pid, {since} AS seconds, count(*) OVER () AS number FROM pg_stat_activity a{join}"
        f" WHERE {waits} ORDER BY 2 DESC LIMIT {LISTED}"
    )
    holders = (
        f"SELECT {WHO}, {_seconds('xact_start')} AS seconds FROM pg_stat_activity"
        " WHERE pid IN (SELECT unnest(blockers) FROM chains)"
    )
    return (
        f"(WITH chains AS (SELECT *, {blockers} AS blockers FROM ({waiting}) waiting) SELECT row_to_json(q) FROM"
        f" (SELECT {_rows('SELECT * FROM chains')} AS waiters, {_rows(holders)} AS holders) q)"
    )


def _holders(version: Sequence[int]) -> str:
    """Return a select of everything that keeps dead rows from being removed: kind, name, age in transactions."""
    # Not those that vacuum: nobody waits for their snapshot.
    working = "left(query, 11) <> 'autovacuum:'"
    if tuple(version) >= (10,):
        working = "coalesce(backend_type, '') <> 'autovacuum worker'"
    parts = (
        "SELECT 'prepared transaction' AS kind, gid AS name, age(transaction) AS age FROM pg_prepared_xacts",
        "SELECT 'pid ' || pid, coalesce(usename || '@' || datname, application_name), age(backend_xmin)"
        f" FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND {working}",
        "SELECT 'slot', slot_name::text, greatest(age(xmin), age(catalog_xmin)) FROM pg_replication_slots"
        " WHERE coalesce(xmin, catalog_xmin) IS NOT NULL",
        "SELECT 'replica', application_name, age(backend_xmin) FROM pg_stat_replication WHERE backend_xmin IS NOT NULL",
    )
    return " UNION ALL ".join(parts)


# What a role may not see is NULL in pg_sequences, as is what was never used; so the right is asked for beside it. The end is
# that of the column, too: one of type integer ends before its sequence of type bigint. A sequence that is read stays locked
# until the statement ends, and a server has room for some thousands of locks: so not all of many at once (`PAGE`), each
# statement going on behind the sequence (pg_class.oid) where the one before ended.
PAGE = 500
SEQUENCES = f"""
WITH page AS (SELECT q.*, n.nspname || '.' || c.relname AS name, has_sequence_privilege(c.oid, 'USAGE, SELECT') AS allowed
 FROM pg_sequence q JOIN pg_class c ON c.oid = q.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE (c.relpersistence = 'p' OR c.relpersistence = 'u' AND NOT pg_is_in_recovery()) AND c.oid::bigint > %s
 ORDER BY c.oid::bigint LIMIT {PAGE}),
s AS (SELECT p.name, p.allowed, p.seqcycle, CASE WHEN p.allowed THEN pg_sequence_last_value(p.seqrelid) END::numeric AS last,
 CASE WHEN p.seqincrement > 0 THEN p.seqmin ELSE p.seqmax END::numeric AS start,
 CASE WHEN p.seqincrement < 0 THEN p.seqmin ELSE least(p.seqmax, CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 END)
 END::numeric AS stop FROM page p
 LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = p.seqrelid AND d.objsubid = 0
 AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
 LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid)
SELECT (SELECT count(*) FROM page) AS number, (SELECT count(*) FROM page WHERE NOT allowed) AS hidden,
 (SELECT max(seqrelid::bigint) FROM page) AS ended,
 {
    _rows(
        f"SELECT name, (100 * coalesce(abs(last - start) / nullif(abs(stop - start), 0), 0))::float8 AS share"
        f" FROM s WHERE allowed AND NOT seqcycle ORDER BY 2 DESC, 1 LIMIT {LISTED}"
    )
} AS worst"""
