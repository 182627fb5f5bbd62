# SPDX-License-Identifier: Apache-2.0
"""The judge, over parts as every family tells them (what each family tells is in tests/probes/test_san_*.py); and the addresses
that the cloud uses, of two simulated arrays that speak Redfish.
"""

from __future__ import annotations

import os
import tempfile

import pytest
from nephoscope.base import COLLECTING, NOT_ALLOWED, UNREACHABLE, Failed
from nephoscope.checks.storage.check_san_health import CHECK, STATES, judge
from nephoscope.demo import Demo, sample
from nephoscope.plugin import CRITICAL, OK, UNKNOWN, WARNING, Finding, Metric
from nephoscope.probes import san
from nephoscope.probes.san import Array, Part, Room, Speed, Survey

from tests.probes.unprivileged import as_nobody
from tests.simulators import redfish

PLACE = ("--profile", "netapp", "-H", "array.example")


def judged(array, argv=(), **words):
    return list(judge(Survey(array, **words), CHECK.parse(*PLACE, *argv)))


def of_parts(*parts, **words):
    return [thing for thing in judged(Array("an array", parts, **words)) if isinstance(thing, Finding)][:-1]


def test_every_health_has_a_state():
    assert STATES.keys() == set(san.HEALTH)
    for health, state in STATES.items():
        assert of_parts(Part("controller", "A", health, "its word")) == [Finding(state, "controller A", "its word")]


def test_good():
    parts = (Part("system", "", "ok", "ok"), Part("controller", "A", "ok", "up"), Part("disk", "1", "spare", "spare"))
    rooms = (Room("pool", "p", 100.0, 40.0, 150.0, COLLECTING), Room("volume", "v", 10.0, 5.0))
    array = Array("ONTAP 9.12.1", parts, rooms, (Speed("", 0.002, 300.0, 1e6),), 1)
    assert judged(array, ("--expect", "disk=1")) == [
        Finding(OK, "system", "ok"),
        Finding(OK, "controller A", "up"),
        Finding(OK, "disk 1", "spare"),
        Metric("used", 40.0, "pool p"),
        Metric("thin", 1.5, "pool p"),
        Metric("full_in", COLLECTING, "pool p"),
        Metric("volume_used", 50.0, "volume v"),
        Metric("latency", 0.002, ""),
        Metric("iops", 300.0, ""),
        Metric("throughput", 1e6, ""),
        Metric("failed", 0),
        Metric("spares", 1),
        Finding(OK, "", "ONTAP 9.12.1: 1 controller, 1 disk"),
    ]


@pytest.mark.parametrize("kind", san.REDUNDANT)
def test_one_of_several_is_a_warning_and_two_are_not(kind):
    one, two = Part(kind, "1", "failed", "broken"), Part(kind, "2", "failed", "broken")
    assert of_parts(one, Part(kind, "3", "ok", "ok")) == [
        Finding(WARNING, f"{kind} 1", "broken"),
        Finding(OK, f"{kind} 3", "ok"),
    ]
    assert of_parts(one, two) == [Finding(CRITICAL, f"{kind} 1", "broken"), Finding(CRITICAL, f"{kind} 2", "broken")]


@pytest.mark.parametrize("kind", sorted(set(san.KINDS) - set(san.REDUNDANT)))
def test_what_nothing_stands_in_for_is_critical(kind):
    assert of_parts(Part(kind, "1", "failed", "down")) == [Finding(CRITICAL, f"{kind} 1", "down")]


@pytest.mark.parametrize(("spares", "state"), [(None, WARNING), (1, WARNING), (0, CRITICAL)])
def test_a_failed_disk_and_the_spares(spares, state):
    array = Array("an array", [Part("disk", "1", "failed", "broken"), Part("disk", "2", "ok", "ok")], spares=spares)
    assert judged(array)[0] == Finding(state, "disk 1", "broken")


def test_a_supply_that_nothing_stands_beside_is_critical():
    assert of_parts(Part("power supply", "1", "failed", "no AC")) == [Finding(CRITICAL, "power supply 1", "no AC")]
    both = of_parts(Part("power supply", "1", "failed", "no AC"), Part("power supply", "2", "absent", "not installed"))
    assert both[0] == Finding(CRITICAL, "power supply 1", "no AC")


def test_rooms_of_every_kind_and_those_that_tell_nothing():
    assert san.USED.keys() == {"pool", "volume", "snapshot reserve", "inodes"}
    rooms = [Room(kind, "x", 200.0, 150.0) for kind in san.USED]
    assert judged(Array("an array", rooms=rooms))[:4] == [
        Metric("used", 75.0, "pool x"),
        Metric("volume_used", 75.0, "volume x"),
        Metric("reserve_used", 75.0, "snapshot reserve x"),
        Metric("inodes_used", 75.0, "volume x"),
    ]
    for size, used in ((None, 1.0), (0.0, 0.0), (1.0, None)):
        assert judged(Array("an array", rooms=[Room("pool", "x", size, used)]))[0] == Metric("used", None, "pool x")


def test_what_is_gone_expected_lost_and_silent():
    lost = Failed(NOT_ALLOWED, "disk", "GET /disks", "HTTP 403")
    silent = Failed(UNREACHABLE, "management 192.0.2.2", "connect", "no answer in 5 s")
    parts = [Part("controller", "A", "ok", "up")]
    found = judged(
        Array("an array", parts, lost=[lost]),
        ("--expect", "disk=2", "--expect", "controller=2"),
        gone=[("controller B", 600.0)],
        addresses={"192.0.2.1": None, "192.0.2.2": silent},
    )
    assert found == [
        lost,
        Finding(OK, "management 192.0.2.1", "answers"),
        silent,
        Finding(UNKNOWN, "disk", "0 of 2 are there"),
        Finding(CRITICAL, "controller", "1 of 2 are there"),
        Finding(OK, "controller A", "up"),
        Finding(WARNING, "controller B", "is gone from the answer, it was there 10 min ago"),
        Metric("failed", 0),
        Finding(OK, "", "an array: 1 controller"),
    ]


def test_no_address_lets_us_in():
    refused = Failed(NOT_ALLOWED, "management a", "log in", "HTTP 401")
    silent = Failed(UNREACHABLE, "management b", "connect", "no answer in 5 s")
    assert judged(Array(""), ("--expect", "disk=2"), addresses={"a": refused, "b": silent}) == [refused, silent]


@pytest.mark.parametrize("of", ["disk /disks/7", "system /chassis", ""])
def test_what_is_expected_and_could_not_all_be_read(of):
    lost = Failed(NOT_ALLOWED, of, "GET", "HTTP 403")
    found = judged(Array("an array", [Part("disk", "1", "ok")], lost=[lost]), ("--expect", "disk=2"))
    assert found[:2] == [lost, Finding(UNKNOWN, "disk", "1 of 2 are there")]


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (("--profile", "netapp"), "SAN_HEALTH UNKNOWN - which array? -H, --address, --cinder-conf or --zone"),
        (
            (*PLACE, "--expect", "disks=3"),
            f"SAN_HEALTH UNKNOWN - --expect needs the mode health, and as KIND one of {', '.join(san.KINDS)}",
        ),
        (
            (*PLACE, "--expect", "disk=3", "--mode", "capacity"),
            f"SAN_HEALTH UNKNOWN - --expect needs the mode health, and as KIND one of {', '.join(san.KINDS)}",
        ),
    ],
)
def test_options_that_do_not_go_together(argv, line):
    assert CHECK.run(argv).line == line


REDFISH = ("--profile", "redfish", "--plain", "--user", "nagios")


def well(bmc):
    redfish.pools(bmc.tree)
    pool = bmc.tree[f"{redfish.V1}/Storage/Array/StoragePools/1"]["Capacity"]["Data"]
    pool.update(ConsumedBytes=500, ProvisionedBytes=1000)


@pytest.fixture
def two(monkeypatch):
    """Two arrays, and their addresses."""
    monkeypatch.setenv("NEPHOSCOPE_PASSWORD", "secret")
    with redfish.Bmc() as one, redfish.Bmc() as other:
        well(one)
        well(other)
        yield one, f"127.0.0.1:{one.port}", other, f"127.0.0.1:{other.port}"
        assert one.sessions == other.sessions == {}


@pytest.fixture
def check(tmp_path):
    def run(*argv):
        return CHECK.run((*REDFISH, *map(str, argv), "--state-dir", str(tmp_path / "state")))

    return run


def test_addresses_of_a_zone_of_eucalyptus(two, check, tmp_path):
    pytest.importorskip("botocore", reason="the extra aws is not installed")
    one, first, other, second = two
    zone = ("--zone", "one", "--credentials", tmp_path / "euca.ini")
    with Demo(sample(version="4.4.2", zones=1, nodes=1)) as demo:
        demo.credentials(tmp_path / "euca.ini", user="monitor")
        line = "zone one: one.storage.sanhost is not set: is the zone's back-end an array? (DescribeProperties)"
        assert check(*zone).line == f"SAN_HEALTH UNKNOWN - {line}"
        demo.tell("property", "one.storage.sanhost", f"{first},{second}")
        outcome = check(*zone)
        assert outcome.reason.startswith("Example Array 9000: 3 controllers, 4 disks, ")
        assert f"[OK] management {first} answers\n" in outcome.text
        assert f"[OK] management {second} answers\n" in outcome.text
        # What the options say of the array's certificate does not hold for the cloud.
        assert check(*zone, "--fingerprint", "00" * 32, "--insecure").state == OK
        other.password = "changed"
        refused = "refused: HTTP 401 (log in at /redfish/v1/SessionService/Sessions as nagios)"
        assert check(*zone).reason.startswith(f"management {second}: {refused}: needs the right password")
        other.password, other.tree[f"{redfish.V1}/"]["Product"] = "secret", "Array 9001"
        assert check(*zone).reason == (
            f"management {second}: another array than that looked at answers: Example Array 9001: a service of its own for it"
        )
    # The cloud is silent: the array that -H names is looked at all the same.
    one.tree[f"{redfish.V1}/Storage/Array/Drives/1"]["Status"]["Health"] = "Critical"
    silent = f"zone one: the cloud: {demo.address('clc')}:8773: Connection refused (DescribeProperties)"
    assert check(*zone, "-H", first).reason == f"disk Bay 1 health Critical, UNKNOWN: {silent}"
    assert check(*zone).line == f"SAN_HEALTH UNKNOWN - {silent}"


def test_addresses_of_a_cinder_conf_by_a_user_without_rights(two, check):
    _, first, _, _ = two
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        conf = f"{folder}/cinder.conf"
        with open(conf, "w") as file:
            file.write(f"[DEFAULT]\nenabled_backends = a\n[a]\nvolume_driver = x.y\nsan_ip = {first}\n")
        assert check("--cinder-conf", conf).state == OK
        os.chmod(conf, 0)
        state, line = as_nobody(CHECK, [*REDFISH, "-H", first, "--cinder-conf", conf])
        refused = f"{conf}: Permission denied (read {conf}): needs a mode of {conf} by which user "
        assert line.startswith(f"SAN_HEALTH UNKNOWN - {refused}")
        assert " | failed=0 " in line  # the array that -H names was looked at all the same
        assert state == UNKNOWN
        assert as_nobody(CHECK, [*REDFISH, "-H", first])[0] == OK
