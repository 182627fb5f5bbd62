# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, COLLECTING, LATE, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run
from nephoscope.probes import galera
from nephoscope.probes.galera import Node

from tests.probes.wsrep import ALONE, CUT_OFF, REFUSAL, STATUS, UUID, VARIABLES


class Database:
    """Stands in for a session: `table` is what a real table answers, `active` what later looks at flow control give."""

    of = "db.example:3306"

    def __init__(self, table=1, active=()):
        self.table, self.active, self.asked = table, list(active), []

    def value(self, statement):
        self.asked.append(statement)
        if isinstance(self.table, Failed):
            raise self.table
        return self.table

    def row(self, statement):
        self.asked.append(statement)
        return {"variable_name": "wsrep_flow_control_active", "value": self.active.pop(0)}


def small(values, changes):
    return {name.lower(): word for name, word in {**values, **changes}.items() if word is not None}


def node(status=(), variables=(), before=None, shift=0.0, database=None, **run):
    told = small(STATUS, dict(status)), small(VARIABLES, dict(variables))
    return galera.node(Run(clock=Clock(shift), **run), database or Database(), *told, before)


MISSING = "wsrep_ready, wsrep_connected or wsrep_cluster_size is missing"


def failed(kind, error="", of="db.example:3306"):
    return Failed(kind, of, "SELECT 1 FROM mysql.help_topic", error)


def test_a_node_that_is_well():
    found = node()
    assert found._replace(kept=None) == Node(
        name="n1",
        on=True,
        configured=True,
        status="Primary",
        ready=True,
        connected=True,
        state=4,
        comment="Synced",
        size=3,
        uuid=UUID,
        local_uuid=UUID,
        conf_id="3",
        recv_queue=0.0,
        send_queue=0.0,
        flow=COLLECTING,
        conflicts=COLLECTING,
        gcache=COLLECTING,
        deps=12.5,
        latency=0.002,
    )
    assert list(found.standings()) == [("serves", "is Synced")]
    assert found.said == "Galera node n1 is Synced in a cluster of 3"


@pytest.mark.parametrize(
    ("status", "variables", "standing"),
    [
        (CUT_OFF, {}, ("cut_off", "is cut off from its cluster: non-Primary, Initialized, and lets tables be read")),
        (
            {**CUT_OFF, "wsrep_cluster_status": "Disconnected", "wsrep_local_state_comment": ""},
            {},
            ("cut_off", "is cut off from its cluster: Disconnected, no state, and lets tables be read"),
        ),
        (
            {**CUT_OFF, "wsrep_cluster_status": "Non-Primary"},  # Percona XtraDB Cluster's spelling
            {},
            ("cut_off", "is cut off from its cluster: Non-Primary, Initialized, and lets tables be read"),
        ),
        (
            {"wsrep_cluster_status": "Sideways"},
            {},
            ("unknown", "has a cluster status that is not understood: Sideways"),
        ),
        ({"wsrep_cluster_status": None}, {}, ("unknown", "has a cluster status that is not understood: none")),
        (
            {"wsrep_ready": None},
            {},
            ("unknown", f"has a cluster status that is not understood: {MISSING}"),
        ),
        (
            {"wsrep_cluster_size": None},
            {},
            ("unknown", f"has a cluster status that is not understood: {MISSING}"),
        ),
        ({"wsrep_ready": "OFF"}, {}, ("not_ready", "is not ready: wsrep_ready OFF")),
        ({"wsrep_connected": "OFF"}, {}, ("not_ready", "is not ready: wsrep_connected OFF")),
        (
            {"wsrep_local_state": "2", "wsrep_local_state_comment": "Donor/Desynced"},
            {},
            ("serves", "is Donor/Desynced"),
        ),
        (
            {"wsrep_local_state": "2", "wsrep_local_state_comment": "Donor/Desynced"},
            {"wsrep_sst_donor_rejects_queries": "ON"},
            (
                "donor_refuses",
                "is Donor/Desynced and refuses queries meanwhile (wsrep_sst_donor_rejects_queries)",
            ),
        ),
        (
            {"wsrep_local_state": "1", "wsrep_local_state_comment": "Joining", "wsrep_ready": "OFF"},
            {},
            ("joining", "is Joining: not yet in step"),
        ),
        (
            {"wsrep_local_state": "3", "wsrep_local_state_comment": "Joined"},
            {},
            ("joining", "is Joined: not yet in step"),
        ),
        (
            {"wsrep_local_state": "0", "wsrep_local_state_comment": "Initialized"},
            {},
            ("not_ready", "is Initialized"),
        ),
        (
            {"wsrep_local_state": "9", "wsrep_local_state_comment": "Dreaming"},
            {},
            ("unknown", "is in a state that is not understood: 9 Dreaming"),
        ),
        ({"wsrep_local_state": None}, {}, ("unknown", "is in a state that is not understood: None Synced")),
        (
            {"wsrep_local_state_uuid": "0" * 8},
            {},
            ("foreign", "holds data of another history (00000000) than its cluster's (b4ef351e)"),
        ),
        (
            {},
            {"wsrep_reject_queries": "ALL"},
            ("closed", "refuses every query of a table: wsrep_reject_queries is ALL"),
        ),
        ({}, {"wsrep_desync": "ON"}, ("desynced", "was desynced by hand: wsrep_desync is ON")),
        (
            {"wsrep_evs_delayed": "9f1a:tcp://192.0.2.3:4567:12"},
            {},
            ("delayed", "sees members that answer late: 9f1a:tcp://192.0.2.3:4567:12"),
        ),
        ({"wsrep_evs_evict_list": "9f1a"}, {}, ("delayed", "sees members that answer late: 9f1a")),
        ({}, {"wsrep_on": "OFF"}, ("off", "does not replicate: wsrep_on is OFF, though a cluster is configured")),
    ],
)
def test_each_way_to_stand(status, variables, standing):
    assert standing in list(node(status, variables).standings())


def test_a_real_table_refuses_while_all_says_ready():
    answers = {
        1: [("serves", "is Synced")],
        failed(NOT_ALLOWED, "SELECT command denied"): [("serves", "is Synced")],  # an account without grants
        failed(ABSENT, "no such table"): [("serves", "is Synced")],
        failed(UNREACHABLE, REFUSAL): [
            ("serves", "is Synced"),
            ("refuses", f"says that it is ready, and a query of a table got: {REFUSAL}"),
        ],
    }
    for answer, standings in answers.items():
        assert list(node(database=Database(answer)).standings()) == standings


@pytest.mark.parametrize("kind", [LATE, UNREADABLE])
def test_a_table_that_does_not_answer_for_another_reason_hides_nothing_else(kind):
    found = node(CUT_OFF, database=Database(failed(kind)))
    assert found.unasked == failed(kind)
    assert list(found.standings()) == [("cut_off", "is cut off from its cluster: non-Primary, Initialized")]


def test_what_refuses_is_told_once():
    closed = node(variables={"wsrep_reject_queries": "ALL_KILL"}, database=Database(failed(UNREACHABLE, REFUSAL)))
    assert [word for word, _ in closed.standings()] == ["serves", "closed"]
    cut = node(CUT_OFF, database=Database(failed(UNREACHABLE, REFUSAL)))
    assert list(cut.standings()) == [
        (
            "cut_off",
            "is cut off from its cluster: non-Primary, Initialized, and refuses every query of a table (error 1047)",
        )
    ]
    assert list(cut.values()) == []


def test_no_galera_and_galera_that_is_off():
    assert node(variables=ALONE) is None
    assert node(variables={"wsrep_provider": "none"}) is None  # MariaDB lets wsrep_on be ON without a provider
    assert node(variables=dict.fromkeys(VARIABLES)) is None  # MySQL
    asked = Database()
    off = node(variables={"wsrep_on": "OFF"}, database=asked)
    assert (off.on, off.configured, asked.asked) == (False, True, [])
    assert node(variables={"wsrep_on": "OFF", "wsrep_cluster_address": ""}) is None


@pytest.mark.parametrize(
    ("first", "later", "held"),
    [
        ("false", [], False),
        ("true", ["true"], True),
        ("true", ["false", "true"], True),
        ("true", ["false", "false"], False),
    ],
)
def test_flow_control_is_looked_at_more_than_once(monkeypatch, first, later, held):
    monkeypatch.setattr(galera, "BETWEEN", 0)
    asked = Database(active=later)
    found = node({"wsrep_flow_control_active": first}, database=asked)
    assert found.held is held
    if held:
        text = "is held back by flow control just now, by another node's wish"
        assert ("held", text) in list(found.standings())
        own = node({"wsrep_flow_control_active": first, "wsrep_flow_control_requested": "true"}, database=Database(active=list(later or ["true"])))  # fmt: skip
        assert ("held", "is held back by flow control just now, by its own wish") in list(own.standings())


def later(changes, seconds=100, **more):
    """Return the node of a second run: the counters of `changes` have grown."""
    grown = {name: str(int(STATUS[name]) + rise) for name, rise in changes.items()}
    before = node().kept
    return node({**grown, "Uptime": str(7200 + seconds), **more}, before=before, shift=seconds)


def test_rates():
    found = later(
        {
            "wsrep_flow_control_paused_ns": 7_000_000_000,
            "wsrep_local_commits": 95,
            "wsrep_local_cert_failures": 2,
            "wsrep_local_bf_aborts": 3,
            "wsrep_local_cached_downto": 1000,
            "wsrep_last_committed": 1000,
        }
    )
    assert (found.flow, found.conflicts, found.gcache) == (7.0, 5.0, 8000.0)


def test_conflicts_without_a_single_commit_are_all_of_it():
    assert later({"wsrep_local_cert_failures": 200}).conflicts == 100.0


def test_one_conflict_of_a_quiet_cluster_is_no_share():
    found = later({"wsrep_local_cert_failures": 1, "wsrep_local_commits": 9})
    assert found.conflicts is galera.FEW
    assert later({}).conflicts is galera.FEW


def test_a_cache_that_drops_nothing_covers_any_time():
    assert later({"wsrep_last_committed": 1000}).gcache == galera.GCACHE_MOST
    assert later({}, wsrep_local_cached_downto=str(2**64 - 1)).gcache is None  # nothing cached


def test_a_flush_of_the_status_does_not_touch_the_share():
    """FLUSH STATUS zeroes wsrep_flow_control_paused; its time in nanoseconds goes on."""
    assert later({"wsrep_flow_control_paused_ns": 1_000_000_000}, wsrep_flow_control_paused="0").flow == 1.0


def test_a_restart_begins_anew():
    again = {"wsrep_gcomm_uuid": "another", "wsrep_flow_control_paused_ns": "0"}
    assert later({}, **again).flow is COLLECTING
    small = node({"Uptime": "40", **again}, before=node().kept, shift=60)
    assert small.flow is COLLECTING


def test_a_counter_that_is_not_there_is_not_measured():
    """Never COLLECTING for ever, which is an OK."""
    found = later({}, wsrep_flow_control_paused_ns=None, wsrep_local_commits=None, wsrep_local_recv_queue=None)
    assert (found.flow, found.conflicts, found.recv_queue) == (None, None, None)
    assert ("flow_paused", None, "") in list(found.values())


def test_for_how_long_it_is_donor_or_joining():
    donor = {"wsrep_local_state": "2", "wsrep_local_state_comment": "Donor/Desynced"}
    first = node(donor)
    assert (first.donor_for, first.joining_for) == (0.0, 0.0)
    again = node(donor, before=first.kept, shift=1900)
    assert again.donor_for == pytest.approx(1900, abs=5)
    joined = node({"wsrep_local_state": "3"}, before=again.kept, shift=2000)
    assert (joined.donor_for, joined.joining_for) == (0.0, 0.0)
    assert node(donor, before=joined.kept, shift=2100).donor_for == 0.0
    another = node({**donor, "wsrep_gcomm_uuid": "another"}, before=again.kept, shift=2000)  # the address has moved
    assert another.donor_for == 0.0


@pytest.mark.parametrize(
    ("state", "word", "status"),
    [
        ("1", "Joining: receiving State Transfer", "Primary"),
        ("1", "Joining", "non-Primary"),
        ("3", "Joined", "Primary"),
    ],
)
def test_a_joining_node_is_neither_cut_off_nor_broken(state, word, status):
    """wsrep_ready is OFF until it is Synced; that this lasts too long is told by its time."""
    told = {
        "wsrep_local_state": state,
        "wsrep_local_state_comment": word,
        "wsrep_cluster_status": status,
        "wsrep_ready": "OFF",
    }
    refuses = Database(failed(UNREACHABLE, REFUSAL))
    found = node(told, database=refuses)
    assert list(found.standings()) == [("joining", f"is {word}: not yet in step")]
    again = node(told, before=found.kept, shift=2000, database=refuses)
    assert {name: value for name, value, _ in again.values()}["joining"] == pytest.approx(2000, abs=5)


@pytest.mark.parametrize(
    "before", [None, [], "x", {"history": "x", "since": 3}, {"history": [[1]], "since": {"donor": "x"}}]
)
def test_what_was_kept_may_be_anything(before):
    assert node(before=before).flow is COLLECTING


@pytest.mark.parametrize(
    "text, mean", [("", None), ("0/0/0/0/0", None), ("1/2/3", None), ("a/b/c/d/e", None), ("1/2/3/4/5", 2.0)]
)
def test_latency(text, mean):
    assert node({"wsrep_evs_repl_latency": text}).latency == mean


def member(size=3, uuid="a" * 36, conf="7", status="Primary", on=True, state=4, queue=0.0):
    return Node(name="n", on=on, status=status, size=size, uuid=uuid, conf_id=conf, state=state, recv_queue=queue)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ({"a": member(), "b": member(), "c": member()}, []),
        ({"a": member(), "b": member(on=False, uuid="")}, []),
        ({"a": member(), "b": member(uuid=galera.NOBODY, status="Disconnected")}, []),
        ({"a": member(), "b": member(1, conf="18446744073709551615", status="non-Primary")}, []),
        (
            {"a": member(), "b": member(uuid="b" * 36)},
            ["the nodes belong to 2 clusters: aaaaaaaa: a; bbbbbbbb: b"],
        ),
        (
            {"a": member(1, conf="8"), "b": member(2, conf="9"), "c": member(2, conf="9")},
            ["the nodes that may write do not see the same members: a (of 1); b, c (of 2)"],
        ),
        # What one sees that is not in step yet is of a while ago.
        ({"a": member(), "b": member(2, conf="6", state=1)}, []),
        ({"a": member(), "b": member(2, conf="6", state=3, queue=9.0)}, []),
        ({"a": member(), "b": member(2, conf="6", state=2, queue=9.0)}, []),
        (
            {"a": member(1, conf="8"), "b": member(2, conf="9", state=2)},
            ["the nodes that may write do not see the same members: a (of 1); b (of 2)"],
        ),
        (
            {"a": member(1), "b": member(1)},
            ["2 nodes may write and each sees 1 member: a, b"],
        ),
    ],
)
def test_several_nodes(nodes, said):
    assert list(galera.clusters(nodes)) == [("split", text) for text in said]


@pytest.mark.parametrize(
    ("members", "expected", "asked", "known", "standing"),
    [
        (3, 0, 1, 0, []),
        (3, 3, 1, 5, []),
        (2, 3, 1, 0, [("fewer", "the cluster has 2 of 3 members")]),
        (2, 4, 1, 0, [("minority", "the cluster has 2 of 4 members")]),
        (1, 3, 3, 3, [("minority", "the cluster has 1 of 3 members")]),
        (2, 0, 3, 0, [("fewer", "the cluster has 2 of 3 members")]),
        (3, 0, 1, 5, [("shrunk", "the cluster has 3 members, it had 5")]),
        (1, 0, 1, 2, [("shrunk", "the cluster has 1 member, it had 2")]),
        (1, 0, 1, 0, [("alone", "the cluster has one member: nothing takes over (--size 1 when that is meant)")]),
        (1, 1, 1, 0, []),
        (2, 2, 1, 0, []),
        (
            2,
            0,
            2,
            0,
            [
                (
                    "even",
                    "the cluster has 2 members, an even number: halves that lose each other both stop (--size 2 when that is meant)",
                )
            ],
        ),
        (
            4,
            3,
            1,
            0,
            [
                (
                    "even",
                    "the cluster has 4 members, an even number: halves that lose each other both stop (--size 4 when that is meant)",
                )
            ],
        ),
    ],
)
def test_the_number_of_members(members, expected, asked, known, standing):
    assert list(galera.sizes(members, expected, asked, known)) == standing


def test_the_size_is_that_of_who_may_write():
    assert galera.size([member(3), member(2), member(1, status="non-Primary")]) == 2
    assert galera.size([member(1, status="non-Primary")]) is None
    assert galera.size([]) is None
    assert galera.size([member(3), member(2, state=1), member(2, state=2, queue=9.0)]) == 3
    assert galera.size([member(2, state=1)]) is None
    assert galera.size([member(2, state=2, queue=9.0)]) == 2


def test_an_answer_without_its_columns():
    class Strange:
        of = "db.example:3306"

        def rows(self, statement):
            return [{"name": "x"}]

    with pytest.raises(Failed) as caught:
        galera.status(Strange())
    assert caught.value.kind == UNREADABLE
