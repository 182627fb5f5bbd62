# SPDX-License-Identifier: Apache-2.0
"""Answers in the form of a real cluster of Ceph 16.2.15 (Debian 12), which printed STATUS, OSD_DF, DF and the client's complaints.

Those of older releases are hand-made: the nested osdmap and the listed monitors after src/osd/OSDMap.cc and src/mon/MonMap.cc of
12.2, as ceph_exporter's and rpc-maas' samples of such clusters have them.
"""

from __future__ import annotations

import json

import pytest
from nephoscope.base import ABSENT, COLLECTING, NOT_ALLOWED, UNREACHABLE, UNREADABLE, Clock, Failed, Run, child
from nephoscope.base.child import Answer
from nephoscope.probes import ceph
from nephoscope.probes.ceph import Client, Number, Trouble

MODES = ("health", "osds", "capacity", "pgs", "monitors")
CLIENT = Client("client.nagios")
GIB = 1 << 30


def code(message, severity="HEALTH_WARN", muted=False, count=1):
    return {"severity": severity, "summary": {"message": message, "count": count}, "muted": muted}


def status(
    health="HEALTH_OK", codes=None, mutes=(), pgs=None, manager=True, up=3, inside=3, osds=3, mons=1, quorum=1, **more
):
    pgs = {"active+clean": 9} if pgs is None else pgs
    return {
        "fsid": "86dd77a0-086b-47ca-b1d2-4ba3fc7f80c5",
        "health": {"status": health, "checks": codes or {}, "mutes": list(mutes)},
        "election_epoch": 3,
        "quorum": list(range(quorum)),
        "quorum_names": list("abcde"[:quorum]),
        "quorum_age": 54,
        "monmap": {"epoch": 1, "min_mon_release_name": "pacific", "num_mons": mons},
        "osdmap": {"epoch": 10, "num_osds": osds, "num_up_osds": up, "num_in_osds": inside, "num_remapped_pgs": 0},
        "pgmap": {
            "pgs_by_state": [{"state_name": name, "count": count} for name, count in pgs.items()],
            "num_pgs": sum(pgs.values()),
            "num_pools": 2,
            "num_objects": 0,
            "data_bytes": 0,
            "bytes_used": 40 * GIB,
            "bytes_avail": 60 * GIB,
            "bytes_total": 100 * GIB,
            **more,
        },
        "fsmap": {"epoch": 1, "by_rank": [], "up:standby": 0},
        "mgrmap": {"available": manager, "num_standbys": 0, "modules": [], "services": {}},
        "servicemap": {"epoch": 1, "modified": "2026-11-21T21:27:47.294500+0000", "services": {}},
        "progress_events": {},
    }


def osd(number, state="up", reweight=1, used=40.0, kb=131072):
    row = {"id": number, "device_class": "hdd", "name": f"osd.{number}", "type": "osd", "type_id": 0, "depth": 2}
    row.update(crush_weight=0.1, reweight=reweight, kb=kb, kb_used=27, utilization=used, var=1, pgs=9, status=state)
    return row


def osd_df(*rows, stray=()):
    return {"nodes": list(rows or (osd(0), osd(1), osd(2))), "stray": list(stray), "summary": {"total_kb": 393216}}


def df(**used):
    return {
        "stats": {},
        "pools": [
            {"name": name, "id": 1, "stats": {"stored": 1, "percent_used": share}} for name, share in used.items()
        ],
    }


def versions(**counts):
    return {
        "mon": {},
        "overall": {f"ceph version {name[1:].replace('_', '.')} (618f) x (stable)": n for name, n in counts.items()},
    }


def detailed(said, **details):
    """The answer of `health detail` to this status."""
    health = json.loads(json.dumps(said["health"]))
    for name, row in health["checks"].items():
        row["detail"] = [{"message": text} for text in details.get(name, ())]
    return health


def install(folder, monkeypatch, said=None, rows=None, detail=None, pools=None, mix=None, script=""):
    """Make a `ceph` that answers with these, and keeps what it was asked in folder/asked."""
    said = status() if said is None else said
    answers = {
        "status": said,
        "health": detail or (detailed(said) if isinstance(said, dict) and "checks" in said.get("health", ()) else {}),
        "osd": osd_df() if rows is None else rows,
        "df": pools or {},
        "versions": mix or {},
    }
    for name, answer in answers.items():
        (folder / name).write_text(answer if isinstance(answer, str) else json.dumps(answer))
    program = folder / "bin" / "ceph"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$*" >>{folder}/asked\n{script}\necho; cat {folder}/$1\n')
    program.chmod(0o755)
    monkeypatch.setattr(child, "PATH", f"{program.parent}:/usr/bin:/bin")


def survey(folder, monkeypatch, *, modes=MODES, before=None, shift=0.0, words=None, **answers):
    install(folder, monkeypatch, **answers)
    return ceph.survey(Run(before=before, clock=Clock(shift)), CLIENT, modes, **(words or {}))


def troubles(cluster):
    return [trouble._replace(age=0.0) for trouble in cluster.troubles]


def number(cluster, name, of=""):
    return next((item.value for item in cluster.numbers if (item.name, item.of) == (name, of)), "not there")


def asked(folder):
    return [line.partition(" --format")[0] for line in (folder / "asked").read_text().splitlines()]


def test_all_is_well(tmp_path, monkeypatch):
    cluster = survey(tmp_path, monkeypatch)
    assert (cluster.troubles, cluster.failures) == ([], [])
    assert cluster.summary == "HEALTH_OK: 3 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups"
    assert list(cluster.numbers) == [
        Number("pgs_bad", 0, "", 0, 9),
        Number("degraded", 0, "", 0, 100),
        Number("misplaced", 0, "", 0, 100),
        Number("used", 40, "", 0, 100),
        Number("full_in", COLLECTING),
        Number("slow", 0),
        Number("read_rate", 0),
        Number("write_rate", 0),
        Number("recovery_rate", 0),
        *(Number("osd_used", 40, f"osd.{n}", 0, 100) for n in range(3)),
        Number("osd_up", 3, "", 0, 3),
        Number("osd_in", 3, "", 0, 3),
        Number("osd_down", 0, "", 0, 100),
        Number("osds_down_together", 0, "", 0, 100),
        Number("mons", 1, "", 0, 1),
    ]


@pytest.mark.parametrize(
    ("modes", "words", "said", "expected"),
    [
        (MODES, {}, status(), ["status", "osd df"]),
        (("health",), {}, status(), ["status"]),
        (("pgs", "monitors"), {}, status("HEALTH_WARN", {"X": code("x")}), ["status"]),
        (("capacity",), {}, status(), ["status", "osd df"]),
        (MODES, {}, status("HEALTH_WARN", {"X": code("x")}), ["status", "health detail", "osd df"]),
        (MODES, {}, status(manager=False), ["status"]),
        (MODES, {"pools": ["vms", "x"], "versions": True}, status(), ["status", "df", "versions", "osd df"]),
    ],
)
def test_no_call_more_than_is_needed(tmp_path, monkeypatch, modes, words, said, expected):
    survey(tmp_path, monkeypatch, modes=modes, words=words, said=said, pools=df(vms=0.1), mix=versions(v16=5))
    assert asked(tmp_path) == expected


def test_what_the_client_is_given(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch)
    Client("client.x", "/k/x.keyring", "/k/x.conf").ask(Run(seconds=8), "status")
    (line,) = (tmp_path / "asked").read_text().splitlines()
    assert line == "status --format json -n client.x --connect-timeout 3 --keyring /k/x.keyring --conf /k/x.conf"


HEALTHS = {
    "ok": "active clean scrubbing deep snaptrim snaptrim_wait remapped backfilling backfill_wait forced_backfill forced_recovery",
    "degraded": "degraded undersized recovering recovery_wait repair premerge creating activating peering laggy wait backfill_toofull",
    "failed": "recovery_toofull peered down incomplete stale inconsistent failed_repair snaptrim_error recovery_unfound backfill_unfound",
    "unknown": "unknown",
}


def test_every_state_of_a_placement_group_is_mapped():
    """All that pg_state_string of 12.2 to 19.2 prints."""
    assert {word: health for word, (health, _) in ceph.PG_WORDS.items()} == {
        word: health for health, words in HEALTHS.items() for word in words.split()
    }


@pytest.mark.parametrize("word", sorted(ceph.PG_WORDS))
def test_each_state_of_a_placement_group(tmp_path, monkeypatch, word):
    health, told = ceph.PG_WORDS[word]
    found = survey(tmp_path, monkeypatch, said=status(pgs={"active+clean": 8, f"active+{word}": 1}))
    expected = [] if health == "ok" else [Trouble("pgs", health, f"active+{word}", "1 placement groups", told)]
    assert troubles(found) == expected
    assert number(found, "pgs_bad") == (0 if word == "clean" else 1)


@pytest.mark.parametrize(
    ("state", "health", "bad"),
    [
        ("active+clean+remapped", "ok", 0),
        ("active+clean+scrubbing+deep+snaptrim_wait", "ok", 0),
        ("active+remapped+backfilling", "ok", 1),
        ("active+undersized+degraded", "degraded", 1),
        ("undersized+degraded+peered", "failed", 1),
        ("clean+premerge+peered", "degraded", 1),
        ("active+clean+inconsistent", "failed", 1),
        ("active+clean+shining", "unknown", 1),
        ("active+degraded+shining", "unknown", 1),
        ("down+shining", "failed", 1),
    ],
)
def test_states_of_several_words(tmp_path, monkeypatch, state, health, bad):
    found = survey(tmp_path, monkeypatch, said=status(pgs={state: 1}))
    assert [trouble.health for trouble in found.troubles] == ([] if health == "ok" else [health])
    assert number(found, "pgs_bad") == bad


def test_a_placement_group_without_a_state(tmp_path, monkeypatch):
    found = survey(tmp_path, monkeypatch, said=status(num_pgs=12))
    assert troubles(found) == [Trouble("pgs", "unknown", "pgs", "9 of 12 placement groups have a state")]


def test_what_the_cluster_tells_by_a_code_is_not_told_twice(tmp_path, monkeypatch):
    codes = {"PG_DEGRADED": code("Degraded data redundancy: 9 pgs undersized", muted=True)}
    found = survey(tmp_path, monkeypatch, said=status(codes=codes, pgs={"active+undersized": 8, "active+repair": 1}))
    assert [trouble.of for trouble in found.troubles] == ["PG_DEGRADED", "active+repair"]


@pytest.mark.parametrize(
    ("name", "severity", "message", "expected"),
    [
        ("OSD_NEARFULL", "HEALTH_WARN", "1 nearfull osd(s)", "degraded"),
        ("POOL_NEAR_FULL", "HEALTH_WARN", "x", "degraded"),
        ("MON_DISK_LOW", "HEALTH_WARN", "x", "degraded"),
        ("OSD_OUT_OF_ORDER_FULL", "HEALTH_ERR", "full ratio(s) out of order", "failed"),
        *((name, "HEALTH_WARN", "x", "failed") for name in sorted(ceph.STOPS) if name.isupper()),
        ("OSDMAP_FLAGS", "HEALTH_WARN", "noout flag(s) set", "degraded"),
        ("OSDMAP_FLAGS", "HEALTH_WARN", "pauserd,pausewr,noout flag(s) set", "failed"),
        ("OSDMAP_FLAGS", "HEALTH_WARN", "full flag(s) set", "failed"),
        ("NEVER_HEARD_OF", "HEALTH_WARN", "x", "degraded"),
        ("NEVER_HEARD_OF", "HEALTH_WORSE", "x", "unknown"),
        ("PG_DAMAGED", "HEALTH_WORSE", "x", "unknown"),
    ],
)
def test_how_bad_a_code_is(tmp_path, monkeypatch, name, severity, message, expected):
    said = status(severity if severity in ceph.SEVERITIES else "HEALTH_WARN", {name: code(message, severity)})
    (found,) = survey(tmp_path, monkeypatch, said=said).troubles
    assert (found.mode, found.of, found.code, found.health) == ("health", name, name, expected)
    assert found.text == (f"{message}: severity HEALTH_WORSE" if expected == "unknown" else message)


@pytest.mark.parametrize(
    ("flags", "calm"),
    [
        ("noout", True),
        ("nobackfill,norebalance,norecover,noscrub,nodeep-scrub,noout", True),
        ("noout,nodown", False),
        ("noin", False),
        ("noup", False),
    ],
)
def test_flags_of_a_maintenance(tmp_path, monkeypatch, flags, calm):
    said = status("HEALTH_WARN", {"OSDMAP_FLAGS": code(f"{flags} flag(s) set")})
    assert survey(tmp_path, monkeypatch, said=said).troubles[0].calm is calm


@pytest.mark.parametrize(
    ("health", "codes", "expected"),
    [
        ("HEALTH_OK", {}, None),
        ("HEALTH_WARN", {}, ("degraded", "is HEALTH_WARN, and no code says why")),
        ("HEALTH_ERR", {"X": code("x")}, ("failed", "is HEALTH_ERR, and no code says why")),
        ("HEALTH_ERR", {"X": code("x", "HEALTH_ERR", muted=True)}, ("failed", "is HEALTH_ERR, and no code says why")),
        ("HEALTH_ERR", {"X": code("x", "HEALTH_ERR")}, None),
        ("HEALTH_FINE", {}, ("unknown", "is HEALTH_FINE, is a word that is not known")),
        ("HEALTH_FINE", {"X": code("x")}, ("unknown", "is HEALTH_FINE, is a word that is not known")),
    ],
)
def test_a_status_that_its_codes_do_not_explain(tmp_path, monkeypatch, health, codes, expected):
    found = survey(tmp_path, monkeypatch, said=status(health, codes))
    assert [(item.health, item.text) for item in found.troubles if item.of == "health"] == (
        [expected] if expected else []
    )


def test_details(tmp_path, monkeypatch):
    said = status("HEALTH_WARN", {"OSD_DOWN": code("4 osds down"), "X": code("x")})
    detail = detailed(said, OSD_DOWN=[f"osd.{n} is down" for n in range(4)])
    found = survey(tmp_path, monkeypatch, said=said, detail=detail)
    assert [(item.text, item.more) for item in found.troubles] == [
        ("4 osds down", " (osd.0 is down; osd.1 is down; osd.2 is down; 1 more)"),
        ("x", ""),
    ]


@pytest.mark.parametrize(
    ("said", "rows", "expected"),
    [
        # Taken out first, it died unheard of: HEALTH_OK, seen for real.
        (status(up=2, inside=2), osd_df(osd(0), osd(1), osd(2, "down", 0, 0, 0)), [("degraded", "osd.2", "is down and out")]),
        (status(inside=2), osd_df(osd(0), osd(1), osd(2, "up", 0, 0, 0)), [("degraded", "osd.2", "is out")]),
        (status(up=2), osd_df(osd(0), osd(1), osd(2, "down")), [("degraded", "osd.2", "is down")]),
        (status("HEALTH_WARN", {"OSD_DOWN": code("1 osds down")}, up=2), osd_df(osd(0), osd(1), osd(2, "down")), [("degraded", "OSD_DOWN", "1 osds down")]),
        (status(up=2, inside=2), osd_df(osd(0), osd(1), osd(2, "destroyed", 0)), [("degraded", "osd.2", "is destroyed and out")]),
        (status(up=3), osd_df(osd(0), osd(1), osd(2, "asleep")), [("unknown", "osd.2", "is asleep")]),
        (status(), osd_df(osd(0), osd(1), stray=[osd(2)]), []),
        # Up to 13 there is no word for an OSD's state.
        (status(up=2, inside=1), osd_df(osd(0, ""), osd(1, ""), osd(2, "")), [("degraded", "osds", "1 of 3 are down"), ("degraded", "osds in", "2 of 3 are out")]),
    ],
)  # fmt: skip
def test_osds(tmp_path, monkeypatch, said, rows, expected):
    found = survey(tmp_path, monkeypatch, said=said, rows=rows)
    assert [trouble[1:4] for trouble in found.troubles] == expected


def test_use_of_osds(tmp_path, monkeypatch):
    rows = osd_df(osd(0, used=91.5), osd(1, kb=0), osd(2, "down", 1))
    found = survey(tmp_path, monkeypatch, said=status(up=2), rows=rows)
    assert [number(found, "osd_used", f"osd.{n}") for n in range(3)] == [91.5, None, "not there"]
    nan = json.dumps(osd_df(osd(0), osd(1), osd(2))).replace('"utilization": 40.0', '"utilization": -nan')
    assert number(survey(tmp_path, monkeypatch, rows=nan), "osd_used", "osd.0") is None


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (osd_df(osd(0), osd(1)), "it lists 2 of 3 OSDs"),
        ({"nodes": [{"type": "osd"}], "stray": []}, "an answer that is not understood"),
        ({}, "an answer that is not understood"),
        ("[]", "not its JSON: '[]'"),
        ('{"nodes": [', "not its JSON: '{\"nodes\": ['"),
    ],
)
def test_an_answer_about_osds_that_is_not_whole(tmp_path, monkeypatch, rows, error):
    found = survey(tmp_path, monkeypatch, said=status(up=2, inside=2), rows=rows)
    assert found.failures == [Failed(UNREADABLE, "mgr", "run ceph osd df", error)]
    assert [trouble.text for trouble in found.troubles] == ["1 of 3 are down", "1 of 3 are out"]


STALE = "placement groups, space and slow operations are not known: no manager answers"


def test_numbers_of_a_manager_that_is_gone_are_not_believed(tmp_path, monkeypatch):
    old = status("HEALTH_OK", manager=False, pgs={"active+clean": 9})
    found = survey(tmp_path, monkeypatch, said=old, words={"pools": ["vms"]}, pools=df(vms=0.5))
    assert troubles(found) == [
        Trouble("", "failed", "mgr", "none is active", "MGR_DOWN"),
        Trouble("", "ok", "vms", "is a pool of the cluster"),
        Trouble("", "unknown", "mgr", STALE),
    ]
    assert [item.name for item in found.numbers] == ["osd_up", "osd_in", "osd_down", "osds_down_together", "mons"]
    assert found.summary == "HEALTH_OK: 3 of 3 OSDs up, 1 of 1 monitors in quorum, no manager"


def test_a_manager_that_is_gone_and_not_missed_yet(tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, script='[ "$1" = osd ] && exec sleep 20')
    found = ceph.survey(Run(seconds=2), CLIENT, MODES)
    (failed,) = found.failures
    assert (failed.kind, failed.of, failed.tried) == (UNREACHABLE, "mgr", "run ceph osd df")
    assert troubles(found) == [Trouble("", "unknown", "mgr", STALE)]
    assert number(found, "used") == "not there"


def test_monitors(tmp_path, monkeypatch):
    found = survey(tmp_path, monkeypatch, said=status(mons=3, quorum=2))
    assert troubles(found) == [Trouble("monitors", "degraded", "mon", "2 of 3 are in quorum", "MON_DOWN")]
    assert number(found, "mons") == 2


def test_what_is_expected(tmp_path, monkeypatch):
    said = status(up=2, mons=3, quorum=2)
    said["fsmap"]["by_rank"] = [{"rank": 0, "status": "up:active"}]
    said["servicemap"]["services"]["rgw"] = {"daemons": {"summary": "", "4123": {"start_epoch": 1}, "4124": {}}}
    expect = [(kind, 2) for kind in ceph.KINDS]
    found = survey(tmp_path, monkeypatch, said=said, modes=("pgs",), words={"expect": expect})
    assert [(item.of, item.health, item.text) for item in found.troubles if "expected" in item.text] == [
        ("osd", "ok", "2 work, 2 are expected"),
        ("mon", "ok", "2 work, 2 are expected"),
        ("mgr", "failed", "1 work, 2 are expected"),
        ("mds", "failed", "1 work, 2 are expected"),
        ("rgw", "ok", "2 work, 2 are expected"),
    ]


def test_pools(tmp_path, monkeypatch):
    found = survey(tmp_path, monkeypatch, words={"pools": ["vms", "images"]}, pools=df(vms=0.5, other=1))
    assert troubles(found) == [
        Trouble("", "ok", "vms", "is a pool of the cluster"),
        Trouble("", "failed", "images", "is no pool of the cluster"),
    ]
    assert number(found, "pool_used", "vms") == 50
    assert number(found, "pool_used", "images") == "not there"


def test_versions(tmp_path, monkeypatch):
    same = survey(tmp_path, monkeypatch, words={"versions": True}, mix=versions(v16_2_15=5))
    assert troubles(same) == []
    mixed = survey(tmp_path, monkeypatch, words={"versions": True}, mix=versions(v16_2_15=4, v17_2_6=1))
    assert troubles(mixed) == [Trouble("", "degraded", "versions", "differ: 16.2.15 (4), 17.2.6 (1)")]


def test_what_vanished_is_missed(tmp_path, monkeypatch):
    first = survey(tmp_path, monkeypatch, said=status(osds=4, up=4, mons=3, quorum=3, num_pools=3), modes=("pgs",))
    second = survey(tmp_path, monkeypatch, modes=("pgs",), before=first.kept, shift=60)
    assert troubles(second) == [
        Trouble("osds", "degraded", "osds", "3 are there, 4 were"),
        Trouble("monitors", "degraded", "mons", "1 are there, 3 were"),
        Trouble("capacity", "degraded", "pools", "2 are there, 3 were"),
    ]
    later = survey(tmp_path, monkeypatch, modes=("pgs",), before=first.kept, shift=604900)
    assert troubles(later) == []


def test_since_when(tmp_path, monkeypatch):
    noout = status("HEALTH_WARN", {"OSDMAP_FLAGS": code("noout flag(s) set")})
    first = survey(tmp_path, monkeypatch, said=noout)
    assert first.troubles[0].age == 0
    second = survey(tmp_path, monkeypatch, said=noout, before=first.kept, shift=700)
    assert second.troubles[0].age == pytest.approx(700, abs=5)
    between = survey(tmp_path, monkeypatch, before=second.kept, shift=720)
    again = survey(tmp_path, monkeypatch, said=noout, before=between.kept, shift=740)
    assert again.troubles[0].age == pytest.approx(740, abs=5)
    long = survey(tmp_path, monkeypatch, before=between.kept, shift=1400)
    assert survey(tmp_path, monkeypatch, said=noout, before=long.kept, shift=1410).troubles[0].age == 0


@pytest.mark.parametrize(
    ("before", "unwell", "expected"),
    [
        (None, True, [1000, 0]),
        (None, False, []),
        ([10, 0], True, [10, 0]),
        ([10, 0], False, [10, 1000]),
        ([10, 900], False, [10, 900]),
        ([10, 900], True, [10, 0]),
        ([10, 400], False, []),
        ([10, 399], True, [1000, 0]),
        # A clock that was set back, and what is damaged.
        ([2000, 0], True, [1000, 0]),
        ([10, 2000], True, [1000, 0]),
        ([10], True, [1000, 0]),
        ({"a": 1}, True, [1000, 0]),
        ("xy", False, []),
        (7, True, [1000, 0]),
        ([None, 0], True, [1000, 0]),
    ],
)
def test_a_time_of_not_being_well(before, unwell, expected):
    assert ceph._spell(before, unwell, 1000.0, 599.0) == expected


def test_the_use_of_pools_was_told_in_percent_up_to_13(tmp_path, monkeypatch):
    """src/mon/PGMap.cc of 12.2: percent_used is printed times 100, and there is no "stored"."""
    old = {"pools": [{"name": "vms", "id": 1, "stats": {"kb_used": 1, "bytes_used": 9, "percent_used": 45.6}}]}
    assert number(survey(tmp_path, monkeypatch, words={"pools": ["vms"]}, pools=old), "pool_used", "vms") == 45.6


@pytest.mark.parametrize("word", ["nan", "-nan", "inf", "-inf", "NaN", "Infinity", "-Infinity"])
def test_what_is_no_number(word):
    assert ceph.parse(f'{{"a": {word}, "b":{word}, "c": "told: nan"}}', "", "df") == {
        "a": None,
        "b": None,
        "c": "told: nan",
    }


@pytest.mark.parametrize(
    ("total", "up", "down", "together"), [(3, 2, 100 / 3, 0), (9, 7, 200 / 9, 200 / 9), (1, 0, 100, 100), (2, 1, 50, 0)]
)
def test_osds_that_are_down_together(tmp_path, monkeypatch, total, up, down, together):
    rows = osd_df(*(osd(n, "up" if n < up else "down") for n in range(total)))
    found = survey(tmp_path, monkeypatch, said=status(osds=total, up=up, inside=total), rows=rows)
    assert (number(found, "osd_down"), number(found, "osds_down_together")) == (
        pytest.approx(down),
        pytest.approx(together),
    )


def test_since_when_placement_groups_are_not_well_whatever_their_state(tmp_path, monkeypatch):
    first = survey(tmp_path, monkeypatch, said=status(pgs={"active+undersized": 9}))
    second = survey(tmp_path, monkeypatch, said=status(pgs={"active+recovering": 9}), before=first.kept, shift=700)
    assert second.troubles[0].age == pytest.approx(700, abs=5)


def test_mutes(tmp_path, monkeypatch):
    mutes = [
        {"code": "OSDMAP_FLAGS", "ttl": "2026-11-21T22:32:09.463187+0000", "sticky": False, "summary": "x", "count": 5},
        {"code": "PG_DEGRADED", "sticky": True, "summary": "", "count": 0},
        {"code": "OSD_DOWN", "sticky": False, "summary": "", "count": 0},
    ]
    said = status(codes={"OSDMAP_FLAGS": code("noout flag(s) set", muted=True)}, mutes=mutes)
    first = survey(tmp_path, monkeypatch, said=said)
    assert first.troubles[0].muted
    assert first.summary.endswith(
        "OSDMAP_FLAGS is muted until 2026-11-21T22:32, PG_DEGRADED is muted for good, OSD_DOWN is muted until it is gone"
    )
    later = survey(tmp_path, monkeypatch, said=said, before=first.kept, shift=1000)
    assert [number(later, "muted", name) for name in ("OSDMAP_FLAGS", "OSD_DOWN")] == [0, 0]
    assert number(later, "muted", "PG_DEGRADED") == pytest.approx(1000, abs=5)


def test_numbers(tmp_path, monkeypatch):
    codes = {"SLOW_OPS": code("12 slow ops, oldest one blocked for 33 sec, osd.1 has slow ops")}
    said = status("HEALTH_WARN", codes, degraded_ratio=0.25, misplaced_ratio=0.5, read_bytes_sec=7, write_bytes_sec=8)
    said["pgmap"]["recovering_bytes_per_sec"] = 9
    found = survey(tmp_path, monkeypatch, said=said)
    names = ("slow", "degraded", "misplaced", "read_rate", "write_rate", "recovery_rate")
    assert [number(found, name) for name in names] == [12, 25, 50, 7, 8, 9]
    old = status("HEALTH_WARN", {"REQUEST_SLOW": code("3 slow requests are blocked > 32 sec")})
    assert number(survey(tmp_path, monkeypatch, said=old), "slow") == 3
    mute = status("HEALTH_WARN", {"SLOW_OPS": code("slow ops on osd.1")})
    assert number(survey(tmp_path, monkeypatch, said=mute), "slow") is None
    assert number(survey(tmp_path, monkeypatch, said=status(bytes_total=0)), "used") is None


def test_growth(tmp_path, monkeypatch):
    kept = None
    for hours in range(0, 25, 4):
        said = status(bytes_used=(40 + hours) * GIB, bytes_avail=(60 - hours) * GIB)
        cluster = survey(tmp_path, monkeypatch, said=said, modes=("pgs",), before=kept, shift=3600 * hours)
        kept = cluster.kept
    assert number(cluster, "full_in") == pytest.approx(36 * 3600, rel=0.01)


def test_nothing_there_is_no_proof_of_health(tmp_path, monkeypatch):
    said = status(osds=0, up=0, inside=0, pgs={}, num_pools=0, bytes_total=0)
    found = survey(tmp_path, monkeypatch, said=said, rows={"nodes": [], "stray": []})
    assert found.failures == [
        Failed(ABSENT, "", "", "the cluster has no OSD"),
        Failed(ABSENT, "", "", "the cluster has no pool"),
    ]


def test_older_releases(tmp_path, monkeypatch):
    """12.2 and 13.2: osdmap nested, monitors and standbys listed, no mutes, a summary beside the codes."""
    said = status("HEALTH_WARN", {"OSD_DOWN": {"severity": "HEALTH_WARN", "summary": {"message": "1 osds down"}}}, up=2)
    said["osdmap"] = {"osdmap": {**said["osdmap"], "full": False, "nearfull": False}}
    said["monmap"] = {"epoch": 1, "mons": [{"rank": 0, "name": "a"}]}
    said["mgrmap"] = {"available": True, "active_name": "x", "standbys": [{"gid": 1}]}
    said["health"].update(
        summary=[{"severity": "HEALTH_WARN", "summary": "'ceph health' JSON format has changed"}],
        overall_status="HEALTH_WARN",
    )
    del said["health"]["mutes"]
    rows = osd_df(*({name: value for name, value in osd(n).items() if name != "status"} for n in range(3)))
    found = survey(tmp_path, monkeypatch, said=said, rows=rows)
    assert troubles(found) == [Trouble("health", "degraded", "OSD_DOWN", "1 osds down", "OSD_DOWN")]
    assert (number(found, "osd_up"), number(found, "mons"), number(found, "osd_used", "osd.2")) == (2, 1, 40)


@pytest.mark.parametrize("gone", ["health", "osdmap", "pgmap", "monmap", "mgrmap", "quorum"])
def test_a_status_without_a_part(tmp_path, monkeypatch, gone):
    said = status()
    del said[gone]
    with pytest.raises(Failed) as caught:
        survey(tmp_path, monkeypatch, said=said)
    assert caught.value == Failed(UNREADABLE, "", "run ceph status", "not the status of Ceph 12 or later")


def test_the_status_of_jewel_has_no_codes(tmp_path, monkeypatch):
    said = status()
    said["health"] = {"summary": [], "overall_status": "HEALTH_OK", "detail": []}
    with pytest.raises(Failed, match="not the status of Ceph 12 or later"):
        survey(tmp_path, monkeypatch, said=said)


def test_lines_before_the_json(tmp_path, monkeypatch):
    noisy = f"2026-11-21T21:28:45.322+0000 7f2b4e2b76c0 -1 WARNING: [x] {{y}}\n\n{json.dumps(status())}"
    assert survey(tmp_path, monkeypatch, said=noisy).troubles == []
    assert survey(tmp_path, monkeypatch, said=f"[WRN] x\n{json.dumps(status())}").troubles == []


NO_KEY = "2026-11-21T21:28:45.578+0000 7f02 -1 auth: unable to find a keyring on {}: ({}\n"
OBJECT = "[errno 2] RADOS object not found (error connecting to the cluster)"
DENIED = "[errno 13] RADOS permission denied (error connecting to the cluster)"
HUNTING = "monclient(hunting): handle_auth_bad_method server allowed_methods [] but i only support [2]\n"
SECRET = "AQBuEAJrwg+tLBAAvKlavJ5I+O+1ghXEepUd2A=="
GRANT = "`ceph auth get-or-create client.nagios mon 'allow r' mgr 'allow r'`"


@pytest.mark.parametrize(
    ("err", "kind", "error", "cure"),
    [
        ("timed out\n", UNREACHABLE, "no monitor answered in 3 s", ""),
        ("Cluster connection aborted\n[errno 110] RADOS timed out (error connecting to the cluster)", UNREACHABLE, "no monitor answered in 3 s", ""),
        (NO_KEY.format("/k", "2) No such file or directory") * 3 + OBJECT, NOT_ALLOWED, "no key for client.nagios: no /k", f"a key: {GRANT}"),
        (NO_KEY.format("/a", "2) No such file or directory") + NO_KEY.format("/k", "13) Permission denied") + DENIED, NOT_ALLOWED, "the keyring /k may not be read", "read on it, by group, mode 0640"),
        (HUNTING + DENIED, NOT_ALLOWED, "the cluster refuses client.nagios: no such user, or another key", GRANT),
        (NO_KEY.format("/a", "2) No such file or directory") + HUNTING + DENIED, NOT_ALLOWED, "the cluster refuses client.nagios: no such user, or another key", GRANT),
        ("[errno 1] RADOS permission error (error connecting to the cluster)", NOT_ALLOWED, "the cluster refuses client.nagios: no such user, or another key", GRANT),
        ("Error EACCES: access denied: does your client key have mgr caps? See http://docs", NOT_ALLOWED, "client.nagios may not ask this", "`ceph auth caps client.nagios mon 'allow r' mgr 'allow r'`"),
        (f"auth: error parsing file /k: error setting modifier for [client.nagios] type=kay val={SECRET}: Malformed input\nauth: failed to load /k: (5) Input/output error\n[errno 5] RADOS I/O error", NOT_ALLOWED, "the keyring /k is damaged", f"a key for client.nagios: {GRANT}"),
        ("Error initializing cluster client: ObjectNotFound('RADOS object not found (error calling conf_read_file)')", ABSENT, "there is no /etc/ceph/ceph.conf", ""),
        ("Error initializing cluster client: PermissionDeniedError('RADOS permission denied (error calling conf_read_file)')", NOT_ALLOWED, "/etc/ceph/ceph.conf can't be read", "read on /etc/ceph/ceph.conf"),
        ("Error initializing cluster client: InvalidArgumentError('RADOS invalid argument (error calling conf_read_file)')", UNREADABLE, "/etc/ceph/ceph.conf is no configuration of Ceph", ""),
        ("Error EINVAL: invalid command\n", UNREADABLE, "it ended with 1: Error EINVAL: invalid command", ""),
        (f"Traceback: {SECRET}\n", UNREADABLE, "it ended with 1: no word why", ""),
        ("", UNREADABLE, "it ended with 1: no word why", ""),
    ],
)  # fmt: skip
def test_why_the_client_did_not_succeed(err, kind, error, cure):
    found = CLIENT.failed(Answer(1, "", err), "", "status", "3")
    assert found == Failed(kind, "", "run ceph status", error, cure)
    assert SECRET not in repr(found.args)


def test_a_configuration_that_was_named_is_not_absent():
    err = "Error initializing cluster client: ObjectNotFound('RADOS object not found (error calling conf_read_file)')"
    found = Client("client.x", "", "/c").failed(Answer(1, "", err), "", "status", "3")
    assert (found.kind, found.error) == (UNREADABLE, "there is no /c")


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (ceph.waiver, "OSD_DOWN", ("OSD_DOWN", float("inf"))),
        (ceph.waiver, "OSD_DOWN=1970-01-02", ("OSD_DOWN", 2 * 86400)),
        (ceph.waiver, "OSD_DOWN=1970-01-01T01:30", ("OSD_DOWN", 5400)),
        (ceph.waiver, "osd down", None),
        (ceph.waiver, "OSD_DOWN=tomorrow", None),
        (ceph.waiver, "OSD_DOWN=", None),
        (ceph.until, "2026-13-01", None),
        (ceph.wanted, "osd=12", ("osd", 12)),
        (ceph.wanted, "osd", None),
        (ceph.wanted, "disk=2", None),
        (ceph.wanted, "mon=-1", None),
        (ceph.user, "nagios", "client.nagios"),
        (ceph.user, "client.nagios", "client.nagios"),
        (ceph.user, "--help", None),
        (ceph.user, "a b", None),
    ],
)
def test_words_of_options(parse, text, expected):
    if expected is None:
        with pytest.raises(ValueError, match=r"^'"):
            parse(text)
    else:
        assert parse(text) == expected
