# SPDX-License-Identifier: Apache-2.0
"""Answers in the forms of tests/probes/test_ceph.py, which names their sources."""

from __future__ import annotations

import pytest
from nephoscope.base import ABSENT, Clock, Failed, child
from nephoscope.checks.storage.check_ceph import CHECK, judge
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes.ceph import Cluster, Number, Trouble

from tests.probes.test_ceph import (
    DENIED,
    HUNTING,
    NO_KEY,
    OBJECT,
    SECRET,
    code,
    detailed,
    df,
    install,
    osd,
    osd_df,
    status,
    versions,
)

NOW = 1_795_296_000.0  # 2026-11-21T21:20Z
NOOUT = Trouble("health", "degraded", "OSDMAP_FLAGS", "noout flag(s) set", "OSDMAP_FLAGS", 900, calm=True)
DOWN = Trouble("health", "degraded", "OSD_DOWN", "1 osds down", "OSD_DOWN", 900, more=" (osd.2 is down)")
STOPPED = Trouble("health", "failed", "PG_AVAILABILITY", "9 pgs inactive", "PG_AVAILABILITY", 5)


def judged(*troubles, argv=(), numbers=(), failures=()):
    return list(judge(Cluster(NOW, troubles, numbers, failures, "well", {}), CHECK.parse(*argv)))


def findings(*troubles, argv=()):
    return [item for item in judged(*troubles, argv=argv) if item.of]


def summary(*troubles, argv=()):
    return judged(*troubles, argv=argv)[-1]


def test_all_is_well():
    assert judged() == [Finding(OK, "", "well")]


@pytest.mark.parametrize(
    ("trouble", "argv", "expected", "noted"),
    [
        (NOOUT, (), (WARNING, "noout flag(s) set"), ""),
        (DOWN, (), (WARNING, "1 osds down (osd.2 is down)"), ""),
        (STOPPED, (), (CRITICAL, "9 pgs inactive"), ""),
        # Held: told before it counts. What stops I/O is not held.
        (DOWN._replace(age=10), (), (OK, "1 osds down (not well for 10 s, counts after 600 s) (osd.2 is down)"), "OSD_DOWN 1 osds down (not well for 10 s, counts after 600 s)"),
        (DOWN._replace(age=10), ("--hold", "5"), (WARNING, "1 osds down (osd.2 is down)"), ""),
        (DOWN._replace(age=0), ("--hold", "0"), (WARNING, "1 osds down (osd.2 is down)"), ""),
        (DOWN._replace(age=599, health="unknown"), (), (UNKNOWN, "1 osds down (osd.2 is down)"), ""),
        # One code, and until when.
        (DOWN, ("--ignore", "OSD_DOWN"), (OK, "1 osds down (ignored) (osd.2 is down)"), "OSD_DOWN 1 osds down (ignored)"),
        (STOPPED, ("--ignore", "PG_AVAILABILITY"), (OK, "9 pgs inactive (ignored)"), "PG_AVAILABILITY 9 pgs inactive (ignored)"),
        (DOWN, ("--ignore", "OSD_DOWN=2026-11-21"), (OK, "1 osds down (ignored) (osd.2 is down)"), "OSD_DOWN 1 osds down (ignored)"),
        (DOWN, ("--ignore", "OSD_DOWN=2026-11-20"), (WARNING, "1 osds down (--ignore has ended) (osd.2 is down)"), ""),
        (DOWN, ("--ignore", "OSD_DOWN=2026-11-21T21:19"), (WARNING, "1 osds down (--ignore has ended) (osd.2 is down)"), ""),
        (DOWN, ("--ignore", "OSD_DOWN=2026-11-20", "--ignore", "OSD_DOWN"), (OK, "1 osds down (ignored) (osd.2 is down)"), "OSD_DOWN 1 osds down (ignored)"),
        (DOWN, ("--ignore", "OSD_NEARFULL"), (WARNING, "1 osds down (osd.2 is down)"), ""),
        (NOOUT, ("--maintenance", "2026-11-22"), (OK, "noout flag(s) set (right by --maintenance)"), "OSDMAP_FLAGS noout flag(s) set (right by --maintenance)"),
        (NOOUT, ("--maintenance", "2026-11-20"), (WARNING, "noout flag(s) set (--maintenance has ended)"), ""),
        (NOOUT._replace(calm=False), ("--maintenance", "2026-11-22"), (WARNING, "noout flag(s) set"), ""),
        (DOWN, ("--maintenance", "2026-11-22"), (WARNING, "1 osds down (osd.2 is down)"), ""),
        (STOPPED._replace(muted=True), (), (OK, "9 pgs inactive (muted)"), "PG_AVAILABILITY 9 pgs inactive (muted)"),
    ],
)  # fmt: skip
def test_a_trouble(trouble, argv, expected, noted):
    assert findings(trouble, argv=argv) == [Finding(expected[0], trouble.of, expected[1])]
    assert summary(trouble, argv=argv) == Finding(OK, "", f"well, {noted}" if noted else "well")


def test_to_ignore_one_code_leaves_the_others():
    found = findings(NOOUT, DOWN, STOPPED, argv=("--ignore", "OSDMAP_FLAGS"))
    assert [(item.state, item.of) for item in found] == [
        (OK, "OSDMAP_FLAGS"),
        (WARNING, "OSD_DOWN"),
        (CRITICAL, "PG_AVAILABILITY"),
    ]


def test_a_mode_tells_its_own():
    of_none = Trouble("", "failed", "mgr", "none is active", "MGR_DOWN")
    of_pgs = Trouble("pgs", "failed", "active+inconsistent", "1 placement groups", "PG_DAMAGED")
    found = findings(DOWN, of_none, of_pgs, argv=("--mode", "pgs"))
    assert [item.of for item in found] == ["mgr", "active+inconsistent"]


def test_numbers_and_failures():
    failed = Failed(ABSENT, "", "", "the cluster has no pool")
    number = Number("osd_used", 12.5, "osd.1", 0, 100)
    assert judged(numbers=[number], failures=[failed]) == [
        failed,
        Metric("osd_used", 12.5, "osd.1", 0, 100),
        Finding(OK, "", "well"),
    ]


def first(folder, monkeypatch, argv=(), clock=None, **answers):
    install(folder, monkeypatch, **answers)
    return CHECK.run([*argv, "--state-dir", str(folder / "state"), "--save"], clock=clock).line


WARN = status("HEALTH_WARN", {"OSD_DOWN": code("1 osds down")}, up=2)
TWO_UP = osd_df(osd(0), osd(1), osd(2, "down"))
AT_ONCE = ["--hold", "0"]
WELL = "HEALTH_OK: 3 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups"


@pytest.mark.parametrize(
    ("argv", "answers", "expected"),
    [
        ([], {}, f"OK - {WELL}, rates collecting | osd_up=3;;;0;3 osd_in=3;;;0;3 osd_down=0%;;;0;100 osds_down_together=0%;;10;0;100 mons=1;;;0;1 slow=0 pgs_bad=0;;;0;9 degraded=0%;;;0;100 misplaced=0%;;;0;100 used=40%;75;85;0;100 osd_used=40%;75;85 read_rate=0B write_rate=0B recovery_rate=0B"),
        # One OSD alone is degraded, however few there are; two are not.
        ([], {"said": WARN, "rows": TWO_UP}, "OK - HEALTH_WARN: 2 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups, OSD_DOWN 1 osds down (not well for 0 s, counts after 600 s), rates collecting | osd_up=2;;;0;3 osd_in=3;;;0;3 osd_down=33.333333%;;;0;100 osds_down_together=0%;;10;0;100 "),
        ([], {"said": status("HEALTH_WARN", {"OSD_DOWN": code("2 osds down")}, up=1), "rows": osd_df(osd(0), osd(1, "down"), osd(2, "down"))}, "CRITICAL - osds down together 66.7 % is above 10 % | osd_up=1"),
        # A mode that is asked for alone is told what the cluster tells by a code.
        (["--mode", "osds", "--hold", "0"], {"said": WARN, "rows": TWO_UP}, "WARNING - OSD_DOWN 1 osds down | osd_up=2"),
        (["--mode", "monitors", "--hold", "0"], {"said": status("HEALTH_WARN", {"MON_DOWN": code("1/3 mons down, quorum a,b")}, mons=3, quorum=2)}, "WARNING - MON_DOWN 1/3 mons down, quorum a,b | mons=2"),
        (["--mode", "pgs"], {"said": status("HEALTH_WARN", {"PG_AVAILABILITY": code("9 pgs inactive")}, pgs={"undersized+peered": 9})}, "CRITICAL - PG_AVAILABILITY 9 pgs inactive | pgs_bad=9"),
        (["--mode", "capacity"], {"said": status("HEALTH_WARN", {"POOL_FULL": code("1 pool(s) full"), "OSD_DOWN": code("1 osds down")})}, "CRITICAL - POOL_FULL 1 pool(s) full | used=40%"),
        (["--mode", "osds"], {"said": status("HEALTH_WARN", {"MGR_DOWN": code("no active mgr")}, manager=False)}, "CRITICAL - MGR_DOWN no active mgr, UNKNOWN: mgr "),
        (AT_ONCE, {"said": WARN, "rows": TWO_UP, "detail": detailed(WARN, OSD_DOWN=["osd.2 (root=default,host=a) is down"])}, "WARNING - OSD_DOWN 1 osds down (osd.2 (root=default,host=a) is down) | "),
        (["--hold", "10m"], {"said": WARN, "rows": TWO_UP}, "OK - HEALTH_WARN: 2 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups, OSD_DOWN 1 osds down (not well for 0 s, counts after 600 s), rates collecting | "),
        ([], {"said": status("HEALTH_WARN", {"POOL_FULL": code("1 pool(s) full"), "OSD_DOWN": code("1 osds down")})}, "CRITICAL - POOL_FULL 1 pool(s) full | "),
        (["--hold", "0"], {"said": status("HEALTH_ERR", {"AAA": code("a"), "OSD_OUT_OF_ORDER_FULL": code("full ratio(s) out of order", "HEALTH_ERR")})}, "CRITICAL - OSD_OUT_OF_ORDER_FULL full ratio(s) out of order, WARNING: AAA a | "),
        (["--ignore", "OSD_OUT_OF_ORDER_FULL", "--hold", "0"], {"said": status("HEALTH_ERR", {"AAA": code("a"), "OSD_OUT_OF_ORDER_FULL": code("full ratio(s) out of order", "HEALTH_ERR")})}, "WARNING - AAA a | "),
        (["--ignore", "AAA"], {"said": status("HEALTH_WARN", {"AAA": code("a")})}, "OK - HEALTH_WARN: 3 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups, AAA a (ignored), rates collecting | "),
        ([], {"said": status("HEALTH_FINE")}, "UNKNOWN - health is HEALTH_FINE, is a word that is not known | "),
        ([], {"said": status("HEALTH_WARN", {"AAA": code("a", "HEALTH_BAD")})}, "UNKNOWN - AAA a: severity HEALTH_BAD | "),
        ([], {"said": status("HEALTH_ERR")}, "CRITICAL - health is HEALTH_ERR, and no code says why | "),
        (["--hold", "0"], {"said": status(inside=2), "rows": osd_df(osd(0), osd(1), osd(2, "up", 0, 0, 0))}, "WARNING - osd.2 is out | "),
        (AT_ONCE, {"said": status(up=2, inside=2), "rows": osd_df(osd(0), osd(1), osd(2, "down", 0, 0, 0))}, "WARNING - osd.2 is down and out | "),
        ([], {"rows": osd_df(osd(0, used=85.5), osd(1), osd(2, used=80))}, "CRITICAL - osd.0 osd used 85.5 % is above 85 %, WARNING: osd.2 osd used 80 % is above 75 % | "),
        ([], {"said": status(bytes_used=80, bytes_avail=20, bytes_total=100)}, "WARNING - used 80 % is above 75 % | "),
        ([], {"said": status(bytes_used=90, bytes_avail=10, bytes_total=100)}, "CRITICAL - used 90 % is above 85 % | "),
        ([], {"said": status(bytes_total=0)}, "UNKNOWN - used was not measured | "),
        (["--hold", "0"], {"said": status(pgs={"active+clean": 8, "active+undersized": 1})}, "WARNING - active+undersized 1 placement groups | "),
        ([], {"said": status(pgs={"active+clean": 8, "undersized+peered": 1})}, "CRITICAL - undersized+peered 1 placement groups | "),
        ([], {"said": status(pgs={"active+clean": 8, "unknown": 1})}, "UNKNOWN - unknown 1 placement groups | "),
        ([], {"said": status(pgs={"active+shining": 9})}, "UNKNOWN - active+shining 9 placement groups | "),
        (["-w", "pgs_bad=0", "--mode", "pgs"], {"said": status(pgs={"active+remapped+backfilling": 1})}, "WARNING - pgs bad 1 is above 0 | "),
        (["-w", "slow=10"], {"said": status("HEALTH_WARN", {"SLOW_OPS": code("12 slow ops, oldest one blocked for 33 sec, osd.1 has slow ops")})}, "WARNING - slow 12 is above 10 | "),
        (["--hold", "0"], {"said": status(mons=3, quorum=2)}, "WARNING - mon 2 of 3 are in quorum | "),
        (["--expect", "mon=3"], {}, "CRITICAL - mon 1 work, 3 are expected | "),
        (["--expect", "osd=3", "--pool", "vms"], {"pools": df(vms=0.5)}, f"OK - {WELL}, rates collecting | "),
        (["--expect", "disk=3"], {}, "UNKNOWN - option --expect: 'disk=3' is not KIND=N with a kind of osd, mon, mgr, mds, rgw"),
        (["--preset", "cinder", "--preset", "glance"], {"pools": df(volumes=0.9)}, "CRITICAL - images is no pool of the cluster, volumes pool used 90 % is above 85 % | "),
        (["--one-version", "--hold", "0"], {"mix": versions(v16_2_15=4, v17_2_6=1)}, "WARNING - versions differ: 16.2.15 (4), 17.2.6 (1) | "),
        ([], {"said": status(osds=0, up=0, inside=0, pgs={}, num_pools=0, bytes_total=0), "rows": osd_df(stray=[])}, "UNKNOWN - the cluster has no OSD, the cluster has no pool | "),
        ([], {"said": status(manager=False)}, "CRITICAL - mgr none is active, UNKNOWN: mgr placement groups, space and slow operations are not known: no manager answers | osd_up=3;;;0;3 osd_in=3;;;0;3 osd_down=0%;;;0;100 osds_down_together=0%;;10;0;100 mons=1;;;0;1"),
        ([], {"said": status("HEALTH_WARN", {"MGR_DOWN": code("no active mgr")}, manager=False)}, "CRITICAL - MGR_DOWN no active mgr, UNKNOWN: mgr placement groups, space and slow operations are not known: no manager answers | "),
        (["--ignore", "MGR_DOWN"], {"said": status("HEALTH_WARN", {"MGR_DOWN": code("no active mgr")}, manager=False)}, "UNKNOWN - mgr placement groups, space and slow operations are not known: no manager answers | "),
        ([], {"said": "<html>"}, "UNKNOWN - not its JSON: '<html>' (run ceph status)"),
        ([], {"said": '{"health": {"status": "HEALTH_OK"'}, "UNKNOWN - not its JSON: '{\"health\": {\"status\": \"HEALTH_OK\"' (run ceph status)"),
        ([], {"said": ""}, "UNKNOWN - not its JSON: '' (run ceph status)"),
        ([], {"said": "{}"}, "UNKNOWN - not the status of Ceph 12 or later (run ceph status)"),
        ([], {"rows": osd_df(osd(0), osd(1))}, "UNKNOWN - mgr: it lists 2 of 3 OSDs (run ceph osd df) | "),
    ],
)  # fmt: skip
def test_first_lines(tmp_path, monkeypatch, argv, answers, expected):
    line = first(tmp_path, monkeypatch, argv, **answers)
    assert line.startswith(f"CEPH {expected}"), line


GRANT = "`ceph auth get-or-create client.nagios mon 'allow r' mgr 'allow r'`"


@pytest.mark.parametrize(
    ("err", "expected"),
    [
        ("timed out", "CRITICAL - no monitor answered in 3 s (run ceph status)"),
        (NO_KEY.format("/k", "2) No such file or directory") + OBJECT, f"UNKNOWN - no key for client.nagios: no /k (run ceph status): needs a key: {GRANT}"),
        (NO_KEY.format("/k", "13) Permission denied") + DENIED, "UNKNOWN - the keyring /k may not be read (run ceph status): needs read on it, by group, mode 0640"),
        (HUNTING + DENIED, f"UNKNOWN - the cluster refuses client.nagios: no such user, or another key (run ceph status): needs {GRANT}"),
        ("Error EACCES: access denied", "UNKNOWN - client.nagios may not ask this (run ceph status): needs `ceph auth caps client.nagios mon 'allow r' mgr 'allow r'`"),
        (f"auth: error parsing file /k: error setting modifier for [client.nagios] type=key val={SECRET}: Malformed input", f"UNKNOWN - the keyring /k is damaged (run ceph status): needs a key for client.nagios: {GRANT}"),
        ("ObjectNotFound('RADOS object not found (error calling conf_read_file)')", "UNKNOWN - there is no /etc/ceph/ceph.conf (run ceph status)"),
        ("Segmentation fault", "UNKNOWN - it ended with 1: no word why (run ceph status)"),
    ],
)  # fmt: skip
def test_what_the_client_complains_of(tmp_path, monkeypatch, err, expected):
    line = first(tmp_path, monkeypatch, script=f"cat >&2 <<'END'\n{err}\nEND\nexit 1")
    assert line == f"CEPH {expected}"
    assert SECRET not in CHECK.run(["-vv", "--explain", "--state-dir", str(tmp_path / "state")]).text


def test_the_right_to_ask_the_manager_is_missing(tmp_path, monkeypatch):
    script = '[ "$1" = osd ] && echo "Error EACCES: access denied: does your client key have mgr caps?" >&2 && exit 13'
    line = first(tmp_path, monkeypatch, script=script)
    caps = "`ceph auth caps client.nagios mon 'allow r' mgr 'allow r'`"
    said = f"CEPH UNKNOWN - mgr: client.nagios may not ask this (run ceph osd df): needs {caps} | osd_up=3"
    assert line.startswith(said), line


def test_no_client(tmp_path, monkeypatch):
    monkeypatch.setattr(child, "PATH", str(tmp_path))
    argv = ["--state-dir", str(tmp_path / "state")]
    assert CHECK.run(argv).line == "CEPH UNKNOWN - ceph is not installed (run ceph status)"
    assert CHECK.run([*argv, "--absent-state", "ok"]).line == "CEPH OK - ceph is not installed (run ceph status)"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("status", "CRITICAL - no answer in 1 s (run ceph status)"),
        ("osd", "CRITICAL - mgr: no answer in 1 s (run ceph osd df), UNKNOWN: mgr placement groups, space and slow operations are not known: no manager answers | "),
    ],
)  # fmt: skip
def test_an_answer_that_does_not_come(tmp_path, monkeypatch, word, expected):
    line = first(tmp_path, monkeypatch, ["-t", "2"], script=f'[ "$1" = {word} ] && exec sleep 20')
    for seconds in ("in 0.9 s", "in 0.8 s", "in 0.7 s"):
        line = line.replace(seconds, "in 1 s")
    assert line.startswith(f"CEPH {expected}"), line


def test_a_warning_is_held_and_told_and_begins_anew(tmp_path, monkeypatch):
    noout = status("HEALTH_WARN", {"OSDMAP_FLAGS": code("noout flag(s) set")})

    def after(shift, said):
        return first(tmp_path, monkeypatch, clock=Clock(shift), said=said)

    head = "CEPH OK - HEALTH_WARN: 3 of 3 OSDs up, 1 of 1 monitors in quorum, 9 placement groups, OSDMAP_FLAGS"
    assert after(0, noout).startswith(f"{head} noout flag(s) set (not well for 0 s, counts after 600 s), rates")
    assert " noout flag(s) set (not well for 30" in after(300, noout)
    assert after(700, noout).startswith("CEPH WARNING - OSDMAP_FLAGS noout flag(s) set | ")
    assert after(760, status()).startswith(f"CEPH OK - {WELL}, rates collecting | ")
    # A pause is none before it has lasted as long; then it begins anew.
    assert after(800, noout).startswith("CEPH WARNING - OSDMAP_FLAGS noout flag(s) set | ")
    assert after(860, status()).startswith(f"CEPH OK - {WELL}, rates collecting | ")
    assert after(1400, status()).startswith(f"CEPH OK - {WELL}, rates collecting | ")
    assert after(1500, noout).startswith(f"{head} noout flag(s) set (not well for 0 s, counts after 600 s), rates")


def test_codes_that_follow_each_other_are_one_time_of_not_being_well(tmp_path, monkeypatch):
    for shift, name in ((0, "AAA"), (300, "BBB")):
        said = status("HEALTH_WARN", {name: code("x")})
        assert first(tmp_path, monkeypatch, clock=Clock(shift), said=said).startswith("CEPH OK - HEALTH_WARN")
    said = status("HEALTH_WARN", {"CCC": code("y")})
    assert first(tmp_path, monkeypatch, clock=Clock(700), said=said).startswith("CEPH WARNING - CCC y | ")


def test_what_is_ignored_or_expected_does_not_begin_a_time_of_not_being_well(tmp_path, monkeypatch):
    codes = {"AAA": code("a"), "OSDMAP_FLAGS": code("noout flag(s) set"), "MMM": code("m", muted=True)}
    argv = ["--ignore", "AAA", "--maintenance", "2100-01-01"]
    first(tmp_path, monkeypatch, argv, clock=Clock(0), said=status("HEALTH_WARN", codes))
    codes["BBB"] = code("b")
    line = first(tmp_path, monkeypatch, argv, clock=Clock(700), said=status("HEALTH_WARN", codes))
    assert "BBB b (not well for 0 s, counts after 600 s)" in line
    assert first(tmp_path, monkeypatch, argv, clock=Clock(1400), said=status("HEALTH_WARN", codes)).startswith(
        "CEPH WARNING - BBB b |"
    )


def test_answers_that_are_not_understood_hide_nothing(tmp_path, monkeypatch):
    said = status("HEALTH_WARN", {"POOL_FULL": code("1 pool(s) full")})
    argv = ["--pool", "vms", "--one-version"]
    line = first(
        tmp_path,
        monkeypatch,
        argv,
        said=said,
        pools={"pools": [{}]},
        mix={"mon": {}},
        detail={"checks": {"POOL_FULL": []}},
    )
    unread = (
        "UNKNOWN: an answer that is not understood (run ceph df), an answer that is not understood (run ceph versions)"
    )
    assert line.startswith(f"CEPH CRITICAL - POOL_FULL 1 pool(s) full, {unread} | "), line


def test_a_code_that_is_muted_for_good(tmp_path, monkeypatch):
    mutes = [{"code": "OSDMAP_FLAGS", "sticky": True, "summary": "", "count": 0}]
    said = status(codes={"OSDMAP_FLAGS": code("noout flag(s) set", muted=True)}, mutes=mutes)

    def after(shift):
        return first(tmp_path, monkeypatch, clock=Clock(shift), said=said)

    assert after(0).startswith(
        f"CEPH OK - {WELL}, OSDMAP_FLAGS is muted for good, OSDMAP_FLAGS noout flag(s) set (muted), rates collecting | "
    )
    assert after(8 * 86400).startswith("CEPH WARNING - OSDMAP_FLAGS muted 8 d is above 7 d | ")


def test_what_vanished(tmp_path, monkeypatch):
    assert first(
        tmp_path, monkeypatch, said=status(osds=4, up=4, inside=4), rows=osd_df(*map(osd, range(4)))
    ).startswith("CEPH OK")
    line = first(tmp_path, monkeypatch, clock=Clock(60))
    assert line.startswith(f"CEPH OK - {WELL}, osds 3 are there, 4 were (not well for 0 s, counts after 600 s), "), line
    line = first(tmp_path, monkeypatch, clock=Clock(700))
    assert line.startswith("CEPH WARNING - osds 3 are there, 4 were | "), line


def test_a_thousand_osds(tmp_path, monkeypatch):
    rows = osd_df(*(osd(n, used=n / 20) for n in range(1000)))
    line = first(tmp_path, monkeypatch, said=status(osds=1000, up=1000, inside=1000), rows=rows)
    assert line.startswith("CEPH OK")
    assert len(line.split("|")[1].split()) == 14
