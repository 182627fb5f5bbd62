# SPDX-License-Identifier: Apache-2.0
"""What a PostgreSQL server's answers mean, and which statements each version is asked.

postgres_answers.json holds what servers of versions 10.23 to 18.6 answered to these statements, with an idle transaction, another
that waits for it, a prepared one, an abandoned slot, an archiver that fails, dead rows, a sequence near its end and a setting that
waits for a restart; "15 bare" is what a role without pg_monitor got.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from nephoscope.base import ABSENT, COLLECTING, LATE, NOT_ALLOWED, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import postgres
from nephoscope.probes import postgres_statements as statements
from nephoscope.probes.postgres import Reading, Server, Standing

RECORDED = json.loads(Path(__file__).with_name("postgres_answers.json").read_text())
MODES = (
    *(
        "login",
        "connections",
        "transactions",
        "locks",
        "prepared",
        "horizon",
        "work",
        "wraparound",
        "vacuum",
        "checkpoints",
    ),
    *("wal", "checksums", "sequences", "settings"),
)
VERSIONS = [name for name in RECORDED if name != "15 bare"]


class Still(Clock):
    """A clock that goes only when a test moves it: a loaded machine's second is no part of a rate."""

    def boottime(self):
        return 5000.0 + self.shift

    def time(self):
        return 1795287000.0 + self.shift


class Answers:
    """Stands for a connection: gives the recorded answers in their order."""

    def __init__(self, name="15"):
        recorded = copy.deepcopy(RECORDED[name])
        self.version, self.text, self.of = tuple(recorded["version"]), recorded["text"], "db.example:5432"
        self.login = 0.012
        self.first, self.second, *self.third = recorded["answers"]
        self.asked, self.parameters = [], []

    def row(self, statement, parameters=()):
        self.asked.append(statement)
        self.parameters.append(parameters)
        answer = (self.first, self.second, *self.third)[len(self.asked) - 1]
        if isinstance(answer, Failed):
            raise answer
        return answer

    def set(self, name, value):
        row = next((row for row in self.first["settings"] if row["name"] == name), None)
        if row is None:
            self.first["settings"].append({"name": name, "setting": value, "unit": None})
        else:
            row["setting"] = value


def looked(db, *modes, run=None, **words):
    return postgres.look(run or Run(), db, modes or MODES, **words)


def values(server):
    return {(reading.name, reading.of): reading.value for reading in server.readings}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_each_version_told(version):
    server = looked(Answers(version), pools=(("postgres", 10),))
    got = values(server)
    assert server.failures == ()
    assert server.text == f"PostgreSQL {version}.{RECORDED[version]['version'][1]}"
    assert Answers(version).first["started"] % 1  # to the microsecond: two servers of a cluster may start in one second
    assert (got["login", ""], got["waiters", ""], got["active", ""], got["idle_in_transaction", ""]) == (0.012, 1, 1, 1)
    assert got["sequence", "public.wide"] == pytest.approx(93.132257)
    assert 2 < got["longest", "postgres@postgres"] < 4
    assert 2 < got["prepared", ""] < 4
    assert got["xmin_age", ""] == 3
    assert got["retained", "abandoned"] > 4_000_000
    assert got["pool", "postgres"] == 30.0
    assert (got["xid", "postgres"], got["mxid", "postgres"]) == (pytest.approx(17 / 21474836.48, rel=0.99), 0)
    assert [reading for reading in server.readings if reading.name == "dead"] == [
        Reading("dead", pytest.approx(100 / 3), "public.things", "10000 rows, never vacuumed")
    ]
    # as many sessions as were open, over 30 connections less 3 for superusers (16 keeps reserved_connections, 0 by default)
    assert server.used == "4 of 27"
    assert ("ready" in {name for name, _ in got}) == (int(version) >= 12)
    kinds = {state.of: state.kind for state in server.states}
    assert (kinds["archiver"], kinds["abandoned"], kinds["settings"], kinds["fsync"]) == (
        "failed",
        "ok",
        "degraded",
        "degraded",
    )
    assert ("checksums" in kinds) == (int(version) < 12)


def test_a_role_that_sees_nothing_of_others():
    server = looked(Answers("15 bare"))
    assert server.failures == (
        Failed(
            NOT_ALLOWED,
            "",
            "",
            "the sessions of other roles, the files that wait for the archiver, the files of pg_wal and some"
            " settings are hidden from bare",
            "GRANT pg_monitor TO bare",
        ),
        Failed(
            NOT_ALLOWED,
            "sequences",
            "",
            "2 of 2 are hidden from bare",
            "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO bare, in each schema",
        ),
    )
    names = {reading.name for reading in server.readings}
    assert not names & {"active", "idle_in_transaction", "longest", "waiters", "xmin_age", "ready", "wal", "sequence"}
    assert {"connections", "prepared", "xid", "retained"} <= names


def test_settings_that_are_for_superusers_to_see():
    db = Answers("15 bare")
    db.second["masked"] = 0
    server = looked(db, "settings")
    assert [failed.error for failed in server.failures] == ["some settings are hidden from bare"]
    assert [reading.name for reading in server.readings] == ["uptime"]
    db = Answers("15 bare")
    db.version = (9, 6, 24)  # where no right lends them
    told = Standing("settings", "ok", "that superusers alone may see are not looked at")
    assert told in looked(db, "settings").states


def test_before_version_10_the_cure_is_another():
    db = Answers("15 bare")
    db.version = (9, 6, 24)
    failed = looked(db, "transactions").failures[0]
    assert failed.cure == "a superuser, or the view that --explain shows: pg_monitor came with PostgreSQL 10"


def test_replicas_whose_rows_are_masked():
    db = Answers()
    db.second["masked_senders"] = 1
    server = looked(db, "horizon", "locks")
    assert [failed.error for failed in server.failures] == ["the snapshots of replicas are hidden from postgres"]
    assert {reading.name for reading in server.readings} >= {"waiters"}
    assert "xmin_age" not in {reading.name for reading in server.readings}


def test_a_server_that_is_too_old():
    db = Answers()
    db.version, db.text = (9, 1, 24), "PostgreSQL 9.1.24"
    with pytest.raises(Failed) as raised:
        looked(db)
    assert raised.value == Failed(
        UNREADABLE, "", "", "PostgreSQL 9.1.24 is older than 9.2, the first that this check can ask"
    )
    assert db.asked == []


@pytest.mark.parametrize(
    "mode, version, setting, why",
    [
        ("checksums", (11, 22), None, "failures are counted from PostgreSQL 12 on"),
        ("checksums", (15, 1), ("data_checksums", "off"), "off: nothing notices a damaged page"),
        ("sequences", (9, 6, 1), None, "can be read from PostgreSQL 10 on"),
        ("wal", (9, 3, 1), None, "can be read from PostgreSQL 9.4 on"),
        ("horizon", (9, 3, 1), None, "can be read from PostgreSQL 9.4 on"),
        ("vacuum", (15, 1), "replica", "this is a replica, and only the primary knows"),
        ("prepared", (15, 1), "replica", "this is a replica, and only the primary knows"),
        ("checkpoints", (15, 1), "replica", "this is a replica, and only the primary knows"),
    ],
)
def test_what_this_server_cannot_have(mode, version, setting, why):
    for given in (False, True):
        db = Answers()
        db.version = version
        if setting == "replica":
            db.first["replica"] = True
        elif setting:
            db.set(*setting)
        server = looked(db, mode, "login", given=given)
        assert [reading.name for reading in server.readings] == ["login"]
        if given:
            assert (server.failures, server.states) == ((Failed(ABSENT, mode, "", why),), ())
        else:
            assert (server.failures, server.states) == ((), (Standing(mode, "ok", why),))


def test_nothing_is_counted():
    db = Answers()
    db.set("track_counts", "off")
    server = looked(db, "work", "vacuum", "locks", "checksums", "login")
    assert [(failed.kind, failed.of, failed.error) for failed in server.failures] == [
        (UNREADABLE, mode, "nothing is counted: track_counts is off")
        for mode in ("work", "vacuum", "locks", "checksums")
    ]
    assert [reading.name for reading in server.readings] == ["login"]


def test_a_setting_that_is_missing_costs_its_mode_alone():
    db = Answers()
    db.first["settings"] = [row for row in db.first["settings"] if row["name"] != "max_connections"]
    server = looked(db, "connections", "prepared")
    assert server.failures == (Failed(UNREADABLE, "max_connections", "read pg_settings", "is missing"),)
    assert [reading.name for reading in server.readings] == ["prepared"]


def test_reserved_connections_of_version_16():
    db = Answers("16")
    db.set("reserved_connections", "7")
    assert looked(db, "connections").used == "4 of 20"


def test_before_version_12_senders_take_connections():
    db = Answers("10")
    db.second["senders"] = 2
    assert looked(db, "connections").used == "6 of 27"


def test_sequences_that_are_locked_cost_no_other_mode():
    db = Answers()
    failed = Failed("late", "db.example:5432", "SELECT", "a lock was not granted within a second")
    db.third = [failed]
    server = looked(db)
    assert server.failures == (failed,)
    assert ("waiters", "") in values(server)


def page(number, hidden=0, ended=16400, **shares):
    worst = [{"name": f"public.{name}", "share": share} for name, share in shares.items()] or None
    return {"number": number, "hidden": hidden, "ended": ended, "worst": worst}


def test_many_sequences_are_read_in_pages():
    db = Answers()
    db.third = [page(500, ended=20000, a=50.0), page(500, ended=30000, b=99.0), page(7, hidden=2, ended=30007, c=1.0)]
    server = looked(db, "sequences")
    assert server.readings == tuple(
        Reading("sequence", share, f"public.{name}") for name, share in zip("bac", (99.0, 50.0, 1.0))
    )
    assert [failed.error for failed in server.failures] == ["2 of 1007 are hidden from postgres"]
    assert db.parameters[2:] == [(0,), (20000,), (30000,)]


def test_more_sequences_than_a_run_reads():
    db = Answers()
    db.third = [page(500, a=1.0)] * 20
    server = looked(db, "sequences")
    assert server.failures == (Failed(LATE, "sequences", "", "there are more than the 10000 that were looked at"),)


def test_no_sequences():
    db = Answers()
    db.third = [page(0, ended=None)]
    server = looked(db, "sequences")
    assert (server.readings, server.failures) == ((Reading("sequence", 0.0),), ())


@pytest.mark.parametrize(
    "version, setting, limit",
    [
        ("10", ("wal_keep_segments", "4"), 128),
        ("15", ("wal_keep_size", "64"), 128),
        ("15", ("max_wal_size", "128"), 128),
    ],
)
def test_what_pg_wal_may_hold(version, setting, limit):
    db = Answers(version)
    db.set(*setting)
    if setting[0] == "wal_keep_size":
        next(row for row in db.first["settings"] if row["name"] == "wal_keep_size")["unit"] = "MB"
    db.second["waldir"] = 64 << 20
    reading = next(reading for reading in looked(db, "wal").readings if reading.name == "wal")
    assert reading == Reading("wal", 50.0, "", f"64 of {limit} MiB")


@pytest.mark.parametrize(
    "mode, replica, row, standing",
    [
        ("off", False, {}, Standing("archiver", "ok", "is off")),
        ("on", True, {"failing": True}, Standing("archiver", "ok", "rests on a replica")),
        ("on", False, {"failing": False, "archived": 7}, Standing("archiver", "ok", "has archived 7 files")),
        (
            "always",
            True,
            {"failing": True, "segment": "0000000100000000000000AB", "seconds": 65.4},
            Standing(
                "archiver", "failed", "fails at 0000000100000000000000AB, last 65 s ago, and has archived nothing since"
            ),
        ),
    ],
)
def test_the_archiver(mode, replica, row, standing):
    db = Answers()
    db.set("archive_mode", mode)
    db.first["replica"] = replica
    db.second["archiver"] = [row]
    assert standing in looked(db, "wal").states


def test_an_archiver_that_has_no_command():
    db = Answers()
    db.first["no_command"] = True
    db.second["archiver"] = [{"failing": False, "archived": 7}]
    text = "has no command: WAL is kept until it gets one"
    assert Standing("archiver", "degraded", text) in looked(db, "wal").states


@pytest.mark.parametrize(
    "status, active, kind, text",
    [
        ("reserved", True, "ok", "slot is reserved, in use"),
        ("extended", True, "ok", "slot is extended, in use"),
        ("unreserved", False, "degraded", "slot is unreserved, not in use"),
        ("lost", False, "failed", "slot is lost, not in use"),
        ("misplaced", False, "unknown", "slot is misplaced, not in use"),
        (None, False, "ok", "slot is there, not in use"),
    ],
)
def test_slots(status, active, kind, text):
    db = Answers()
    db.second["slots"] = [{"name": "s1", "active": active, "status": status, "retained": None}]
    server = looked(db, "wal")
    assert Standing("s1", kind, text) in server.states
    assert Reading("retained", 0.0, "s1", "slot in use" if active else "slot not in use") in server.readings


def test_a_state_that_nobody_knows():
    db = Answers()
    db.second["states"] = [
        {"state": "dreaming", "number": 2},
        {"state": "idle", "number": 3},
        {"state": None, "number": 1},
    ]
    server = looked(db, "transactions")
    assert server.states == (Standing("sessions", "unknown", "2 are in a state that is not understood: dreaming"),)
    assert (values(server)["active", ""], values(server)["idle_in_transaction", ""]) == (0, 0)


def test_sessions_that_tell_nothing():
    db = Answers()
    db.second["disabled"] = 3
    assert looked(db, "transactions").failures == (
        Failed(UNREADABLE, "sessions", "", "3 of them tell nothing: track_activities is off for them"),
    )


def test_a_session_whose_role_was_dropped():
    db = Answers()
    db.second["longest"][0]["user"] = None
    assert ("longest", "?@postgres") in values(looked(db, "transactions"))


def test_no_transaction_is_a_number_too():
    db = Answers()
    for name in ("longest", "query", "idle_transaction", "prepared", "horizon", "states"):
        db.second[name] = None
    db.second["waits"] = {"waiters": None, "holders": None}
    got = values(looked(db, "transactions", "prepared", "horizon", "locks"))
    for name in (
        "active",
        "idle_in_transaction",
        "longest",
        "query",
        "idle_transaction",
        "waiters",
        "waited",
        "prepared",
        "xmin_age",
    ):
        assert got[name, ""] == 0


def waits(*rows, holders=()):
    waiters = [{"pid": pid, "seconds": 90.0 - pid, "number": len(rows), "blockers": blockers} for pid, blockers in rows]
    return {"waiters": waiters, "holders": list(holders)}


HEAD = {
    "pid": 1,
    "user": "nova",
    "database": "nova",
    "application": "",
    "state": "idle in transaction",
    "seconds": 80.4,
}


@pytest.mark.parametrize(
    "told, detail",
    [
        (waits((11, [1]), (12, [11]), holders=[HEAD]), "2 behind pid 1, nova@nova, idle in transaction for 80 s"),
        (waits((11, [0])), "1 behind a prepared transaction"),
        (
            waits((11, [2, 1]), (12, [1]), (13, [1]), holders=[HEAD]),
            "2 behind pid 1, nova@nova, idle in transaction for 80 s",
        ),
        (waits((11, [7])), "1 behind pid 7"),  # it has ended meanwhile
        (waits((11, [])), ""),
        (waits((11, [12]), (12, [11])), "1 behind pid 11"),  # a deadlock that is not found yet
    ],
)
def test_who_stands_at_the_head_of_the_queue(told, detail):
    db = Answers()
    db.second["waits"] = told
    readings = [reading for reading in looked(db, "locks").readings if not reading.name.endswith("_rate")]
    number = len(told["waiters"])
    assert readings == [Reading("waiters", number, "", detail), Reading("waited", 79.0, "", detail)]


def test_pools_by_name_then_glob_and_by_client():
    db = Answers()
    db.second["names"] = ["eucalyptus_shared", "eucalyptus_cloud", "database_events", "postgres"]
    db.second["pools"] = [
        {"database": "eucalyptus_shared", "client": "192.0.2.1", "number": 600},
        {"database": "eucalyptus_shared", "client": "192.0.2.2", "number": 900},
        {"database": "eucalyptus_cloud", "client": "192.0.2.1", "number": 128},
        {"database": "postgres", "client": "192.0.2.1", "number": 7},
    ]
    pools = (("eucalyptus_shared", 1000), ("database_events", 8), ("eucalyptus_*", 512))
    readings = [reading for reading in looked(db, "connections", pools=pools).readings if reading.name == "pool"]
    assert readings == [
        Reading("pool", 0.0, "database_events", ""),
        Reading("pool", 25.0, "eucalyptus_cloud", "128 of 512 from 192.0.2.1"),
        Reading("pool", 90.0, "eucalyptus_shared", "900 of 1000 from 192.0.2.2"),
    ]


def test_pools_of_no_database():
    server = looked(Answers(), "connections", pools=(("eucalyptus_*", 512),))
    assert server.failures == (Failed(ABSENT, "pool", "", "there is no database eucalyptus_*"),)


def test_pools_that_may_not_be_counted():
    db = Answers()
    db.second["masked"] = 3
    server = looked(db, "connections", pools=(("postgres", 5),))
    assert [failed.error for failed in server.failures] == ["the sessions of other roles are hidden from postgres"]
    assert "pool" not in {reading.name for reading in server.readings}


# --- rates ---------------------------------------------------------------------------------------------------------------------


class Twice:
    """Two looks, `shift` seconds apart; `change` is done to the answers in between."""

    def __init__(self, *modes):
        self.modes, self.kept = modes, None

    def look(self, shift, **totals):
        db = Answers()
        row = db.second["databases"][0]
        db.second["databases"] = [{**dict.fromkeys(row, 0), "id": 5, "reset": None, **totals}]
        for name in ("forced", "timed"):
            if name in totals:
                db.second["checkpoints"][0][name] = totals[name]
        for name in ("started", "uptime"):
            db.first[name] = totals.get(name, db.first[name])
        db.second["position"] = totals.get("position", 0)
        run = Run(before=self.kept, clock=Still(shift))
        server = looked(db, *self.modes, run=run)
        self.kept = json.loads(json.dumps(server.kept))
        return values(server)


def test_rates():
    twice = Twice("work", "locks", "wal")
    assert twice.look(0)["commits_rate", ""] is COLLECTING
    got = twice.look(
        300,
        xact_commit=600,
        xact_rollback=200,
        blks_hit=9000,
        blks_read=1000,
        temp_bytes=3000,
        deadlocks=3,
        conflicts=0,
        position=60000,
    )
    assert {name: value for (name, _), value in got.items() if name.endswith("_rate")} == {
        "commits_rate": 2.0,
        "temp_rate": 10.0,
        "deadlocks_rate": 0.01,
        "conflicts_rate": 0.0,
        "wal_rate": 200.0,
    }
    assert (got["hit", ""], got["rollbacks", ""]) == (90.0, 25.0)


def test_the_hits_of_few_blocks_are_noise():
    twice = Twice("work")
    twice.look(0)
    assert twice.look(300, blks_read=999)["hit", ""].why == "is not told of fewer than 1000 blocks"
    assert twice.look(600, blks_read=2000)["hit", ""] == 0.0


@pytest.mark.parametrize(
    "change",
    [{"started": Answers().first["started"] + 0.25}, {"reset": 77.0}, {"id": 6}, {"xact_commit": 5}],
    ids=[
        "a restart, or another server that started in the same second",
        "a reset",
        "another database",
        "fewer than before",
    ],
)
def test_counters_that_began_anew(change):
    twice = Twice("work")
    twice.look(0, xact_commit=100)
    assert twice.look(300, xact_commit=400)["commits_rate", ""] == 1.0
    assert twice.look(600, **{"xact_commit": 1000, **change})["commits_rate", ""] is COLLECTING


def test_a_position_that_is_not_told_is_no_beginning():
    twice = Twice("wal")
    twice.look(0, position=None)
    assert twice.look(300, position=5e12)["wal_rate", ""] is COLLECTING


def test_checkpoints_that_were_asked_for():
    twice = Twice("checkpoints")
    assert twice.look(0, forced=0, timed=0)["forced", ""] is COLLECTING
    assert twice.look(1800, forced=2, timed=1)["forced", ""] == 0.0  # a backup asks for one
    assert twice.look(3600, forced=3, timed=9)["forced", ""] == 25.0


# --- what a server is asked ----------------------------------------------------------------------------------------------------


def test_only_what_the_modes_need_is_asked():
    db = Answers()
    db.second = {}
    looked(db, "login")
    assert (len(db.asked), db.asked[1]) == (2, "SELECT 1 AS nothing")
    db = Answers()
    looked(db, *(mode for mode in MODES if mode != "sequences"))
    assert len(db.asked) == 2
    assert "pg_stat_activity" not in statements.second((15, 1), ("connections", "work", "wraparound", "vacuum", "wal"))


@pytest.mark.parametrize(
    "version", [(9, 2), (9, 3), (9, 4), (9, 5), (9, 6), *((number, 1) for number in range(10, 19))]
)
def test_each_version_is_asked_in_its_own_words(version):
    modes = [mode for mode in MODES if version >= (9, 4) or mode not in ("wal", "horizon")]
    text = statements.first(version) + statements.second(version, modes, may=("waldir", "ready"), pools=True)
    for word, since in {
        "backend_xmin": (9, 4),
        "pg_replication_slots": (9, 4),
        "pg_stat_archiver": (9, 4),
        "mxid_age": (9, 5),
        "pending_restart": (9, 5),
        "pg_blocking_pids": (9, 6),
        "wait_event_type": (9, 6),
        "backend_type": (10,),
        "pg_current_wal_lsn": (10,),
        "has_function_privilege('pg_ls_waldir()'": (10,),
        "has_function_privilege('pg_ls_archive_statusdir()'": (12,),
        "wal_status": (13,),
        "waitstart": (14,),
        "pg_stat_checkpointer": (17,),
    }.items():
        assert (word in text) == (version >= since), word
    for word, until in {"a.waiting": (9, 6), "xlog": (10,), "autovacuum:": (10,), "pg_stat_bgwriter": (17,)}.items():
        present = version < until and not (word == "xlog" and version < (9, 4))
        assert (word in text) == present, word
    assert "LATERAL" not in text  # 9.3
    assert "json_build_object" not in text  # 9.4
    assert "pg_catalog." not in text  # a view that stands in for another is found by search_path


def test_no_statement_fetches_the_text_of_another():
    for version in ((9, 2), (9, 6), (18, 1)):
        text = statements.second(version, MODES if version > (9, 4) else ("transactions", "locks"))
        for piece in text.split("SELECT ")[1:]:
            fetched = piece.partition(" FROM ")[0]
            assert "query" not in fetched.replace("query_start", ""), fetched


def test_a_replica_is_asked_for_no_position_of_its_own():
    assert "pg_current_wal_lsn" not in statements.second((15, 1), MODES, replica=True)
    assert "pg_last_wal_replay_lsn()" in statements.second((15, 1), MODES, replica=True)
    assert "pg_last_xlog_replay_location()" in statements.second((9, 6), MODES, replica=True)


# --- what is told --------------------------------------------------------------------------------------------------------------


def test_standings():
    server = Server("PostgreSQL 15.18", True, "3 of 97", states=(Standing("archiver", "ok", "is off"),))
    first = Standing("", "ok", "PostgreSQL 15.18, replica, 3 of 97 connections")
    assert server.standings(None) == [first, Standing("archiver", "ok", "is off")]
    assert server.standings("replica") == server.standings(None)
    assert server.standings("primary")[1] == Standing("role", "failed", "is replica, and should be primary")


def test_which_tables_are_due():
    db = Answers()
    db.second["tables"] = [
        {"name": "a", "dead": 20000, "share": 50.0, "vacuumed": None, "never": True},
        {"name": "b", "dead": 15000, "share": 30.0, "vacuumed": 172800.0, "never": False},
    ]
    server = looked(db, "vacuum", dead=500, vacuumed=3600.0)
    assert server.readings == (
        Reading("dead", 50.0, "a", "20000 rows, never vacuumed"),
        Reading("dead", 30.0, "b", "15000 rows, vacuumed 2.0 days ago"),
    )
    assert "WHERE dead >= 500 AND coalesce(vacuumed < now() - interval '1 second' * 3600, true)" in db.asked[1]
    assert server.states == (
        Standing("vacuum", "ok", "of database postgres alone"),
        Standing("autovacuum", "ok", "is on"),
    )
    db.second["tables"] = None
    db.asked = []
    assert looked(db, "vacuum").readings == (Reading("dead", 0.0),)
