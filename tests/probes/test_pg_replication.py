# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from nephoscope.base import ABSENT, NOT_ALLOWED, UNREADABLE, Failed, Run
from nephoscope.probes import pg_replication
from nephoscope.probes.pg_replication import Follower, Server, Slot, Standby

ALL = ("galera", "replica", "standby", "primary", "slots")
# What PostgreSQL 15.18 gave, a primary with one standby and its slot, and that standby.
FOLLOWER = {
    "pid": 4711,
    "name": "north",
    "address": "192.0.2.7",
    "state": "streaming",
    "sync_state": "async",
    "slot": "one",
    "reached": "0/3000148",
    "behind": 0,
    "lag": 0.000167,
}
SLOT = {
    "name": "one",
    "type": "physical",
    "active": True,
    "temporary": False,
    "retained": 0,
    "wal_status": "reserved",
    "invalid": None,
}
PRIMARY = {
    "recovering": False,
    "sees": True,
    "sees_settings": True,
    "waits_for": "",
    "system": "7575000000000000001",
    "standbys": [FOLLOWER],
    "slots": [SLOT],
    "receiver": None,
    "standby": None,
}
RECEIVER = {"status": "streaming", "host": "192.0.2.1", "port": "5432", "silent": 0.06}
REPLAY = {
    "paused": False,
    "reached": "0/3000148",
    "until": "0/3000148",
    "behind": 0,
    "age": 12.5,
    "delay": 0,
    "asks": 30,
    "follows": True,
}
SIGN = "an idle primary is asked for a sign after 30 s"
STANDBY = {**PRIMARY, "recovering": True, "standbys": [], "slots": [], "receiver": RECEIVER, "standby": REPLAY}


def parse(row, modes=ALL):
    """JSON columns arrive as text."""
    parts = ("standbys", "slots", "receiver", "standby")
    told = {name: json.dumps(value) if name in parts and value is not None else value for name, value in row.items()}
    return pg_replication.parse("db.example:5432", told, modes)


def primary(modes=ALL, **changes):
    return parse({**PRIMARY, "standbys": [{**FOLLOWER, **changes}]}, modes)


def slot(**changes):
    return parse({**PRIMARY, "standbys": [], "slots": [{**SLOT, **changes}]})


def standby(receiver=(), more=(), **changes):
    link = None if receiver is None else {**RECEIVER, **dict(receiver)}
    return parse({**STANDBY, "receiver": link, "standby": {**REPLAY, **changes}, **dict(more)})


NAMES = ("north", "one", "192.0.2.7", "north 192.0.2.7")


def test_a_primary():
    found = parse(PRIMARY)
    assert found == Server(
        "7575000000000000001",
        False,
        None,
        (Follower("north", NAMES, "streaming", "async", 0.0, 0.000167, "0/3000148"),),
        (Slot("one", "physical", True, 0, "reserved"),),
        ALL,
    )
    assert list(found.standings()) == [("north", "serves", "is streaming"), ("one", "serves", "slot is used")]
    assert list(found.values()) == [
        ("standbys", 1, "", ""),
        ("behind", 0.0, "north", ""),
        ("lag", 0.0, "north", ""),
        ("retained", 0.0, "one", ""),
    ]
    assert found.said == "a primary, 1 standby, 1 slot"


def test_a_standby():
    found = parse(STANDBY)
    at = "0/3000148"
    assert found.standby == Standby("streaming", "192.0.2.1:5432", 0.06, 30.0, True, False, 0.0, 12.5, 0.0, at, at)
    assert list(found.standings()) == [("", "serves", "WAL receiver from 192.0.2.1:5432 is streaming")]
    assert list(found.values()) == [("lag", 0.0, "", ""), ("behind", 0.0, "", ""), ("silent", 0.06, "", SIGN)]
    assert found.said == "a standby of 192.0.2.1:5432"


def test_only_what_the_modes_ask_for():
    both = {**STANDBY, "standbys": [FOLLOWER], "slots": [SLOT]}
    assert parse(both, ("standby",)).standbys == parse(both, ("standby",)).slots == ()
    assert parse(both, ("primary",)).standby is None
    assert list(parse(both, ("slots",)).values()) == [("retained", 0.0, "one", "")]


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        ("startup", ("north", "catching_up", "is startup")),
        ("catchup", ("north", "catching_up", "is catchup")),
        ("stopping", ("north", "stopped", "is stopping")),
        ("backup", ("north", "serves", "is backup")),
        ("dancing", ("north", "unknown", "is in a state that is not understood: dancing")),
    ],
)
def test_states_of_a_follower(state, standing):
    found = primary(state=state)
    assert standing in list(found.standings())
    assert next(iter(found.values())) == ("standbys", 0, "", "")


def test_a_backup_is_no_standby():
    found = primary(state="backup", behind=1e12)
    assert list(found.values()) == [("standbys", 0, "", ""), ("retained", 0.0, "one", "")]
    assert list(found.positions()) == []
    assert list(found.unlike(["primary"])) == [Failed(ABSENT, "", "", "no standby is connected")]
    assert parse({**PRIMARY, "slots": [], "standbys": [{**FOLLOWER, "state": "backup"}]}).empty


def test_what_streams_for_a_backup_is_no_standby_either():
    """pg_basebackup -X stream of 15.18: two senders of its name, the second with a slot of its own."""
    copy = {
        **FOLLOWER,
        "name": "pg_basebackup",
        "address": "192.0.2.9",
        "state": "backup",
        "slot": None,
        "reached": None,
    }
    wal = {**copy, "state": "streaming", "slot": "pg_basebackup_14915", "behind": 216}
    for rows in ([copy, wal], [copy, {**wal, "slot": None}], [wal]):
        found = parse({**PRIMARY, "standbys": [*rows, FOLLOWER]})
        assert [each.name for each in found.followers] == ["north"]
    standby = {**wal, "name": "walreceiver", "slot": "pg_walreceiver_4711"}  # wal_receiver_create_temp_slot
    assert len(parse({**PRIMARY, "standbys": [standby]}).followers) == 1


def test_a_sender_that_has_not_begun_has_no_measure():
    found = primary(state="startup", behind=None, reached=None, lag=None)
    assert ("behind", None, "north", "") not in list(found.values())
    found = primary(behind=None, reached=None, lag=None)
    assert ("behind", pg_replication.YET, "north", "") in list(found.values())
    ages = dict.fromkeys(found.positions(), 61.0)
    assert ("behind", None, "north", "") in list(found.timed(ages).values())  # it should have told by now


@pytest.mark.parametrize(
    ("names", "syncs", "told"),
    [
        ("", ["async"], None),
        ("north", ["sync"], None),
        ("north", [], "0 of 1"),
        ("*", ["async"], "0 of 1"),
        ("north, south", ["sync", "potential"], None),
        ("FIRST 2 (north, south)", ["sync"], "1 of 2"),
        ("2 (north, south)", ["sync", "sync"], None),
        ("any 2 (north, south, east)", ["quorum", "quorum", "quorum"], None),
        ("ANY 2(north, south, east)", ["quorum"], "1 of 2"),
    ],
)
def test_commits_that_wait_for_a_standby(names, syncs, told):
    rows = [{**FOLLOWER, "name": f"n{n}", "sync_state": sync} for n, sync in enumerate(syncs)]
    row = {**PRIMARY, "waits_for": names, "standbys": rows}
    text = f"every commit waits: {told} synchronous standbys; synchronous_standby_names is {names}"
    found = [(of, word, text) for of, word, text in parse(row).standings() if word == "hangs"]
    assert found == ([("", "hangs", text)] if told else [])
    assert "hangs" not in [word for _, word, _ in parse(row, ("standby", "slots")).standings()]  # not looked at


@pytest.mark.parametrize(
    ("behind", "seconds", "stuck", "lag"),
    [
        (0, None, 0.0, 0.0),  # idle and in step
        (0, 3.0, 90.0, 0.0),
        (100, 3.0, 0.0, 3.0),
        (100, 3.0, 90.0, 90.0),  # replay_lag is what was measured before it stood still
        (100, None, 90.0, 90.0),
        (100, None, 0.0, None),  # not known, and not 0
        (None, None, 0.0, None),
    ],
)
def test_the_lag_of_a_follower(behind, seconds, stuck, lag):
    assert Follower("n", (), "streaming", "async", behind, seconds, "0/1", stuck).lag == lag


def test_a_position_that_does_not_move():
    found = primary(behind=100)
    assert list(found.positions()) == ["north 0/3000148"]
    assert list(primary(behind=0).positions()) == []
    assert found.timed({"north 0/3000148": 90.0}).standbys[0].lag == 90.0
    assert found.timed({"north 0/1": 90.0}).standbys[0].stuck == 0.0
    replay = standby(behind=100, age=None)
    assert list(replay.positions()) == ["here 0/3000148"]
    assert replay.timed({"here 0/3000148": 90.0}).standby.lag == 90.0


def test_several_of_one_name_are_told_apart():
    others = [{**FOLLOWER, "name": "walreceiver", "address": address, "pid": pid} for pid, address in ((1, "192.0.2.7"), (2, "192.0.2.8"), (3, ""))]  # fmt: skip
    found = parse({**PRIMARY, "standbys": others})
    assert [each.name for each in found.standbys] == [
        "walreceiver 192.0.2.7",
        "walreceiver 192.0.2.8",
        "walreceiver local",
    ]
    assert found.standbys[0].names == ("walreceiver", "one", "192.0.2.7", "walreceiver 192.0.2.7")
    twice = parse({**PRIMARY, "standbys": [others[0], {**others[0], "pid": 9}]}).standbys
    assert [each.name for each in twice] == ["walreceiver 192.0.2.7 1", "walreceiver 192.0.2.7 2"]


@pytest.mark.parametrize(
    ("changes", "standing", "value"),
    [
        ({"active": False, "retained": 2e9}, ("serves", "slot is used by nobody"), (2e9, "nobody uses the slot")),
        ({"wal_status": "extended", "retained": 5}, ("serves", "slot is used"), (5, "")),
        ({"wal_status": None}, ("serves", "slot is used"), (0.0, "")),  # before PostgreSQL 13
        (
            {"wal_status": "unreserved", "active": False},
            ("unreserved", "slot is about to lose its WAL: wal_status unreserved"),
            (0.0, "nobody uses the slot"),
        ),
        (
            {"wal_status": "lost", "retained": None},
            ("lost", "slot is lost, what follows it must be made anew: its WAL is gone"),
            None,
        ),
        (
            {"invalid": "rows_removed"},
            ("lost", "slot is lost, what follows it must be made anew: rows_removed"),
            (0.0, ""),
        ),
        (
            {"wal_status": "borrowed"},
            ("unknown", "slot has a wal_status that is not understood: borrowed"),
            (0.0, ""),
        ),
    ],
)
def test_slots(changes, standing, value):
    found = slot(**changes)
    assert list(found.standings()) == [("one", *standing)]
    assert list(found.values())[1:] == ([("retained", value[0], "one", value[1])] if value else [])


def test_a_temporary_slot_ends_with_its_session():
    assert slot(temporary=True).slots == ()


ALONE = "is connected to no primary: no WAL receiver runs"


@pytest.mark.parametrize(
    ("found", "standings"),
    [
        (standby({"status": "waiting"}), [("stopped", "WAL receiver from 192.0.2.1:5432 is waiting")]),
        (standby({"status": "starting", "host": None}), [("catching_up", "WAL receiver is starting")]),
        (standby({"status": "connecting"}), [("reconnecting", "WAL receiver from 192.0.2.1:5432 is connecting")]),
        (
            standby({"status": "dancing"}),
            [("unknown", "WAL receiver from 192.0.2.1:5432 is not understood: dancing")],
        ),
        (standby(None), [("stopped", ALONE)]),
        (
            standby(None, {"sees_settings": False}, follows=None),
            [("stopped", ALONE)],
        ),
        (standby(None, follows=False), [("serves", "WAL comes from an archive, no primary is configured")]),
        (
            standby(paused=True),
            [("serves", "WAL receiver from 192.0.2.1:5432 is streaming"), ("paused", "replay is paused")],
        ),
    ],
)
def test_how_a_standby_stands(found, standings):
    assert [(word, text) for _, word, text in found.standings()] == standings


@pytest.mark.parametrize(
    ("changes", "lag"),
    [
        ({"behind": 0, "age": 90000.0}, 0.0),  # an idle primary
        ({"behind": -216, "age": 5.0}, 0.0),  # it has just started, and replayed its own WAL
        ({"behind": 100, "age": 90.0}, 90.0),
        ({"behind": 100, "age": 90.0, "delay": 60}, 30.0),
        ({"behind": 100, "age": 30.0, "delay": 60}, 0.0),
        ({"behind": 100, "age": None}, None),
    ],
)
def test_the_lag_of_a_standby(changes, lag):
    assert standby(**changes).standby.lag == lag


class Replays:
    """Stands in for a session of a standby: `reached` is what each later look gives."""

    def __init__(self, *reached):
        self.reached, self.asked = list(reached), []

    def value(self, statement, parameters):
        self.asked.append(parameters)
        return self.reached.pop(0)


@pytest.mark.parametrize(
    ("changes", "reached", "lag"),
    [
        ({"behind": 100}, [True], 0.2),
        ({"behind": 100}, [False, True], 0.4),
        ({"behind": 100}, [False, False, False], 7200.0),  # it does lag
        ({"behind": 100, "age": None}, [True], 0.2),
        ({"behind": 100, "delay": 60}, [True], 0.2),
        ({"behind": 0}, [], 0.0),
        ({"behind": 100, "age": 0.9}, [], 0.9),
        ({"behind": 100, "paused": True}, [], 7200.0),
    ],
)
def test_the_age_of_a_commit_is_a_lag_where_replay_does_not_pass(monkeypatch, changes, reached, lag):
    """A transaction of two hours streams: the last commit is as old, and all is replayed at once."""
    asked, before = Replays(*reached), standby(**{"age": 7200.0, "until": "0/4000010", **changes}).standby
    monkeypatch.setattr(pg_replication.time, "sleep", lambda seconds: None)
    found = pg_replication.proven(Run(), asked, before)
    assert found.lag == pytest.approx(lag)
    assert asked.asked == [("0/4000010",)] * len(reached)


@pytest.mark.parametrize(
    ("until", "behind", "lag"),
    [("0/5002000", 912, 0.0), ("0/5002010", 912, 90.0), ("0/5002000", 40000, 90.0), ("", 912, 90.0)],
)
def test_a_record_that_has_begun_is_no_lag(until, behind, lag):
    """15.18 with a transaction that wrote and waits: what was sent ends with a page."""
    found = standby(until=until, behind=behind, age=90.0)
    assert found.standby.lag == lag
    assert ("behind", behind, "", "") in list(found.values())


def test_what_may_be_silent():
    assert standby({"silent": -0.01}).standby.silent == 0.0
    assert ("silent", 0.06, "", "an idle primary looks the same") in list(standby(asks=0).values())


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (["primary"], [("wrong_role", "is a standby and no primary")]),
        (["standby", "primary"], [Failed(ABSENT, "", "", "no standby is connected")]),
        (["standby"], []),
    ],
)
def test_a_cascade_without_anybody_below(wanted, said):
    assert list(parse(STANDBY).unlike(wanted)) == said
    assert list(parse({**STANDBY, "standbys": [FOLLOWER]}).unlike(["standby", "primary"])) == []


def test_a_standby_without_a_receiver_has_no_lag_to_show():
    """All that it received is replayed: 0 would be a lie."""
    assert [name for name, *_ in standby(None, behind=0).values()] == []
    assert list(standby(None, follows=False, behind=None, age=90.0).values()) == [
        ("lag", 90.0, "", "an idle primary looks the same")
    ]


@pytest.mark.parametrize(
    ("row", "view"),
    [
        ({**PRIMARY, "standbys": [dict.fromkeys(FOLLOWER)]}, "pg_stat_replication"),
        ({**STANDBY, "receiver": dict.fromkeys(RECEIVER)}, "pg_stat_wal_receiver"),
    ],
)
def test_rows_without_a_right_are_empty_and_this_is_told(row, view):
    with pytest.raises(Failed) as caught:
        parse({**row, "sees": False})
    assert caught.value == Failed(
        NOT_ALLOWED, "db.example:5432", f"ask {view}", "the account may not see other sessions", "GRANT pg_monitor TO the account"
    )  # fmt: skip


def test_slots_are_seen_without_it():
    assert parse({**PRIMARY, "sees": False}, ("slots",)).slots == (Slot("one", "physical", True, 0, "reserved"),)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {**PRIMARY, "standbys": [{}]},
        {**PRIMARY, "standbys": 3},
        {**PRIMARY, "slots": [1]},
        {**STANDBY, "standby": None},
    ],
)
def test_an_answer_that_is_not_understood(row):
    with pytest.raises(Failed) as caught:
        parse(row)
    assert caught.value.kind == UNREADABLE


def test_a_server_that_is_too_old():
    class Old:
        version, text = (9, 6, 24), "PostgreSQL 9.6.24"

    with pytest.raises(Failed) as caught:
        pg_replication.look(Run(), Old(), "", ALL)
    assert (caught.value.kind, caught.value.error) == (
        UNREADABLE,
        "PostgreSQL 9.6.24 is older than what is known here: PostgreSQL 10",
    )
