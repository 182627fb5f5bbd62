# SPDX-License-Identifier: Apache-2.0
"""The ONTAP family against tests/simulators/ontap.py: every part goes bad, every word has its health, nothing is hidden."""

from __future__ import annotations

import subprocess
import time
import tracemalloc

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.probes import san_ontap as family
from nephoscope.probes.san import Room, Speed

from tests.probes import arrays
from tests.probes.arrays import ALL, bad, failure, healths, lost, place
from tests.simulators.ontap import TB, Ontap, metric, port, volume

GB = 1 << 30
LISTS = {
    "/api/storage/aggregates": ["pool"],
    "/api/storage/volumes": ["volume"],
    "/api/private/cli/system/health/subsystem": ["system"],
    "/api/private/support/alerts": ["alert"],
    "/api/cluster/nodes": ["controller", "battery", "sensor"],
    "/api/cluster/sensors": ["sensor", "fan"],
    "/api/storage/disks": ["disk"],
    "/api/storage/shelves": ["enclosure", "power supply", "fan"],
    "/api/storage/luns": ["volume"],
    "/api/network/ip/interfaces": ["port"],
    "/api/network/ethernet/ports": ["port"],
    "/api/network/fc/ports": ["port"],
    "/api/snapmirror/relationships": ["replication"],
    "/api/support/ems/events": ["alert"],
}


@pytest.fixture
def array():
    with Ontap() as simulated:
        yield simulated


def ask(array, modes=ALL, **words):
    return arrays.ask(family, array, modes, **words)


def test_a_healthy_cluster(array):
    found = ask(array)
    assert (found.product, bad(found), lost(found), found.spares) == ("ONTAP 9.14.1P2 c1", {}, [], 1)
    assert list(healths(found)) == [
        "system SAS-connect", "system Switch-Health", "system Environment",
        "controller n1", "system fans of n1", "system power supplies of n1", "sensor temperature of node n1",
        "battery NVRAM of node n1", "system takeover by n1", "system giveback by n1",
        "controller n2", "system fans of n2", "system power supplies of n2", "sensor temperature of node n2",
        "battery NVRAM of node n2", "system takeover by n2", "system giveback by n2",
        "sensor n1 Ambient Temp", "fan n1 PSU1 Fan1", "sensor n1 Batt Present",
        "disk 1.1.0", "disk 1.1.1", "disk 1.1.2", "disk 1.1.3",
        "enclosure 1.1", "system shelf 1.1 module 1", "power supply 1.1 psu 1", "power supply 1.1 psu 2",
        "power supply 1.1 psu 3", "fan 1.1 fan 1", "sensor 1.1 temperature 1", "sensor 1.1 voltage 1",
        "sensor 1.1 current 1", "pool aggr1", "volume svm1:vol0", "volume svm1:vol1",
        "port LIF svm1:lif1", "port n1:e0c", "port n1:e0d", "port n1:0e", "replication dr:vol0",
    ]  # fmt: skip
    assert healths(found)["power supply 1.1 psu 3"] == ("absent", "not_installed")
    assert found.rooms == [
        Room("pool", "aggr1", 10.0 * TB, 4.0 * TB, 200.0 * GB),
        Room("volume", "svm1:vol0", 95.0 * GB, 40.0 * GB),
        Room("inodes", "svm1:vol0", 1000.0, 100.0),
        Room("volume", "svm1:vol1", 95.0 * GB, 40.0 * GB),
        Room("inodes", "svm1:vol1", 1000.0, 100.0),
    ]
    assert found.speeds == [Speed("", 0.00085, 2030.0, 104857600.0), Speed("aggr1", 0.00085, 2030.0, 104857600.0)]


def test_a_mode_asks_for_what_it_needs_alone(array):
    found = ask(array, ("capacity",))
    assert [line.split("?")[0] for line in array.log] == [
        "GET /api/cluster", "GET /api/storage/aggregates", "GET /api/storage/volumes",
    ]  # fmt: skip
    assert (found.parts, found.speeds, found.spares, len(found.rooms)) == ([], [], None, 5)
    array.log.clear()
    assert (ask(array, ("performance",)).parts, len(array.log)) == ([], 2)
    array.log.clear()
    assert (ask(array, ("health",)).rooms, len(array.log)) == ([], 15)


def test_the_volumes_of_a_large_cluster(array):
    array.tree["/api/storage/volumes"] = [volume(f"vol{index}") for index in range(2000)]
    array.tree["/api/storage/disks"] = [
        {"name": f"1.1.{bay}", "state": "present", "container_type": "aggregate"} for bay in range(500)
    ]
    array.tree["/api/storage/luns"] = [
        {"name": f"lun{index}", "svm": {"name": "svm1"}, "status": {"state": "online"}} for index in range(2000)
    ]
    tracemalloc.start()
    found = ask(array, seconds=60.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(array.log), bad(found), len(found.rooms)) == (15 + 3, {}, 4001)
    assert peak < 60 << 20  # the simulator's own answers are in it


WORDS = [
    ("/api/cluster/nodes", "state", "controller n1", family.NODE),
    ("/api/cluster/nodes", "controller.over_temperature", "sensor temperature of node n1", family.OVER),
    ("/api/cluster/nodes", "nvram.battery_state", "battery NVRAM of node n1", family.BATTERY),
    ("/api/cluster/nodes", "ha.takeover.state", "system takeover by n1", family.TAKEOVER),
    ("/api/cluster/nodes", "ha.giveback.state", "system giveback by n1", family.GIVEBACK),
    ("/api/cluster/sensors", "threshold_state", "sensor n1 Ambient Temp", family.SENSOR),
    ("/api/storage/aggregates", "state", "pool aggr1", family.AGGREGATE),
    ("/api/storage/volumes", "state", "volume svm1:vol0", family.VOLUME),
    ("/api/storage/shelves", "state", "enclosure 1.1", family.SHELF),
    ("/api/network/ip/interfaces", "state", "port LIF svm1:lif1", family.LIF),
    ("/api/network/ethernet/ports", "state", "port n1:e0c", family.ETHERNET),
    ("/api/network/fc/ports", "state", "port n1:0e", family.FIBRE),
    ("/api/private/cli/system/health/subsystem", "health", "system SAS-connect", family.SUBSYSTEM),
]
# The "Valid choices" of netapp-ontap 9.19.1: each has a health, "unknown" where ONTAP itself does not know.
CHOICES = {
    "controller n1": "up booting down taken_over waiting_for_giveback degraded unknown",
    "sensor temperature of node n1": "over normal",
    "battery NVRAM of node n1": "battery_ok battery_partially_discharged battery_fully_discharged battery_not_present "
    "battery_near_end_of_life battery_at_end_of_life battery_unknown battery_over_charged battery_fully_charged",
    "system takeover by n1": "not_possible not_attempted in_takeover in_progress failed",
    "system giveback by n1": "nothing_to_giveback not_attempted in_progress failed",
    "sensor n1 Ambient Temp": "bad crit_high crit_low disabled failed fault ignored init_failed invalid normal "
    "not_available not_present retry uninitialized unknown warn_high warn_low",
    "pool aggr1": "online onlining offline offlining relocating unmounted restricted inconsistent failed unknown",
    "volume svm1:vol0": "error mixed offline online restricted",
    "enclosure 1.1": "unknown ok error",
    "port LIF svm1:lif1": "up down",
    "port n1:e0c": "up down degraded",
    "port n1:0e": "startup link_not_connected online link_disconnected offlined_by_user offlined_by_system "
    "node_offline unknown",
    "system SAS-connect": "ok ok-with-suppressed ok_with_suppressed initializing degraded unreachable",
}
UNKNOWN = {"unknown", "battery_unknown", "invalid", "retry", "uninitialized"}


@pytest.mark.parametrize(("path", "field", "of", "table"), WORDS)
def test_every_word_has_its_health(array, path, field, of, table):
    choices = CHOICES[of].split()
    assert set(table) == set(choices) - UNKNOWN
    *above, last = field.split(".")
    thing = array.tree[path][0]
    for name in above:
        thing = thing[name]
    for word in [*choices, "sulking", 7, [], {"state": "up"}]:
        thing[last] = word
        known = isinstance(word, str) and word in table
        assert healths(ask(array, ("health",)))[of][0] == (table[word] if known else "unknown"), word


@pytest.mark.parametrize(
    ("state", "container", "health"),
    [
        ("present", "aggregate", "ok"), ("present", "shared", "ok"), ("present", "spare", "spare"),
        ("spare", "spare", "spare"), ("zeroing", "spare", "spare"), ("partner", "aggregate", "ok"),
        ("maintenance", "maintenance", "ok"), ("copy", "aggregate", "rebuilding"), ("pending", "aggregate", "degraded"),
        ("reconstructing", "aggregate", "rebuilding"), ("removed", "aggregate", "degraded"), ("broken", "broken", "failed"),
        ("unfail", "spare", "degraded"), ("present", "broken", "failed"), ("present", "unassigned", "degraded"),
        ("present", "foreign", "degraded"), ("present", "labelmaint", "degraded"), ("present", "unsupported", "degraded"),
        ("present", "remote", "ok"), ("present", "mediator", "ok"), ("present", "unknown", "unknown"),
        ("odd", "aggregate", "unknown"), ("broken", "odd", "failed"), (None, None, "unknown"), (None, "aggregate", "ok"),
    ],
)  # fmt: skip
def test_the_words_of_a_disk(array, state, container, health):
    disk = array.tree["/api/storage/disks"][0]
    disk.update(state=state, container_type=container)
    assert healths(ask(array, ("health",)))["disk 1.1.0"][0] == health


def test_every_word_of_a_disk_has_a_health():
    # Valid choices of netapp-ontap 9.19.1
    states = "broken copy maintenance partner pending present reconstructing removed spare unfail zeroing"
    containers = "aggregate broken foreign labelmaint maintenance shared spare unassigned unsupported remote mediator"
    assert (set(family.DISK), set(family.CONTAINER)) == (set(states.split()), set(containers.split()))


def test_spares(array):
    disks = array.tree["/api/storage/disks"]
    disks[3].update(state="present", container_type="aggregate")
    assert ask(array, ("health",)).spares == 0
    disks[0]["container_type"] = "shared"
    assert ask(array, ("health",)).spares is None
    disks[0].update(container_type="aggregate", effective_type="vmdisk")
    assert ask(array, ("health",)).spares is None
    array.faults["/api/storage/disks"] = 403
    assert ask(array, ("health",)).spares is None


def test_a_disk_that_broke_says_why(array):
    array.tree["/api/storage/disks"][1].update(
        state="broken", container_type="broken", outage={"reason": {"message": "admin failed", "code": "721081"}}
    )
    assert bad(ask(array)) == {"disk 1.1.1": ("failed", "broken, admin failed")}


def test_fans_and_power_supplies_of_a_node(array):
    controller = array.tree["/api/cluster/nodes"][0]["controller"]
    controller["failed_fan"] = {"count": 1, "message": {"message": "Chassis fan 2 failed."}}
    controller["failed_power_supply"] = {"count": 2, "message": {}}
    assert bad(ask(array)) == {
        "system fans of n1": ("degraded", "1 failed: Chassis fan 2 failed."),
        "system power supplies of n1": ("failed", "2 failed"),
    }


def test_failover(array):
    ha = array.tree["/api/cluster/nodes"][1]["ha"]
    ha["takeover"] = {"state": "not_possible", "failure": {"message": "Interconnect is down.", "code": 852131}}
    assert bad(ask(array)) == {"system takeover by n2": ("failed", "not_possible, Interconnect is down.")}
    ha["enabled"] = False
    assert bad(ask(array)) == {"system failover of n2": ("degraded", "switched off")}
    ha["partners"] = []
    assert bad(ask(array)) == {}


def test_sensors(array):
    thermal, fan, discrete = array.tree["/api/cluster/sensors"]
    thermal["threshold_state"] = "warn_high"
    fan.update(threshold_state="crit_low", value=0)
    discrete["discrete_state"] = "bad"
    assert bad(ask(array)) == {
        "sensor n1 Ambient Temp": ("degraded", "warn_high, 24 C"),
        "fan n1 PSU1 Fan1": ("failed", "crit_low, 0 RPM"),
        "sensor n1 Batt Present": ("failed", "normal / bad"),
    }
    del discrete["discrete_state"], discrete["threshold_state"]
    assert healths(ask(array))["sensor n1 Batt Present"] == ("unknown", "no state")


@pytest.mark.parametrize(
    ("field", "of"),
    [
        ("bays", "system shelf 1.1 bay 0"), ("fans", "fan 1.1 fan 1"), ("temperature_sensors", "sensor 1.1 temperature 1"),
        ("voltage_sensors", "sensor 1.1 voltage 1"), ("current_sensors", "sensor 1.1 current 1"),
        ("frus", "system shelf 1.1 module 1"),
    ],
)  # fmt: skip
def test_the_parts_of_a_shelf(array, field, of):
    thing = array.tree["/api/storage/shelves"][0][field][0]
    thing["state"] = "error"
    assert {name: said[0] for name, said in bad(ask(array)).items()} == {of: "failed"}
    thing["state"] = "sulking"
    assert {name: said[0] for name, said in bad(ask(array)).items()} == {of: "unknown"}


def test_a_power_supply_of_a_shelf(array):
    array.tree["/api/storage/shelves"][0]["frus"][2]["state"] = "error"
    assert bad(ask(array)) == {"power supply 1.1 psu 2": ("failed", "error")}


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"state": "nvfail", "container_state": "online", "mapped": True}, ("failed", "nvfail, mapped")),
        ({"state": "space_error", "mapped": False}, ("failed", "space_error")),
        ({"state": "foreign_lun_error", "mapped": False}, ("failed", "foreign_lun_error")),
        ({"state": "offline", "container_state": "volume_offline", "mapped": True}, ("degraded", "offline, volume_offline, mapped")),
        ({"state": "offline", "mapped": False}, None),
        ({"state": "odd"}, ("unknown", "odd")),
        ({}, ("unknown", "no state")),
    ],
)  # fmt: skip
def test_a_lun(array, status, said):
    array.tree["/api/storage/luns"][0]["status"] = status
    assert bad(ask(array)) == ({"volume LUN svm1:/vol/vol0/lun0": said} if said else {})


def test_an_interface_that_is_away_from_home(array):
    lif = array.tree["/api/network/ip/interfaces"][0]
    lif["location"] = {"is_home": False, "node": {"name": "n2"}, "port": {"name": "e0d"}}
    assert bad(ask(array)) == {"port LIF svm1:lif1": ("degraded", "up, not at home but on n2:e0d")}
    lif.update(enabled=False, state="down")
    assert (bad(ask(array)), healths(ask(array))["port LIF svm1:lif1"][0]) == ({}, "absent")


def test_a_port_that_is_not_used_may_be_down(array):
    array.tree["/api/network/ethernet/ports"] = [
        port("e0c", state="down", enabled=False),
        port("e0d", state="down", broadcast_domain=None),
        port("e0e", state="down", broadcast_domain=None),
        port("e0f", state="down", broadcast_domain=None),
        port("a0a", type="lag", lag={"mode": "singlemode", "member_ports": [{"name": "e0e", "node": {"name": "n1"}}]}),
        port("e0f-7", type="vlan", vlan={"tag": 7, "base_port": {"name": "e0f", "node": {"name": "n1"}}}),
    ]
    assert bad(ask(array)) == {"port n1:e0e": ("failed", "down"), "port n1:e0f": ("failed", "down")}
    array.tree["/api/network/fc/ports"][0].update(enabled=False, state="offlined_by_user")
    assert healths(ask(array))["port n1:0e"] == ("absent", "not enabled")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"lag_time": "PT59M59S"}, None),
        ({"lag_time": "PT1H1S"}, ("degraded", "snapmirrored, lags by 1.0 h")),
        ({"lag_time": "P1DT2H"}, ("degraded", "snapmirrored, lags by 26.0 h")),
        ({"lag_time": "soon"}, None),
        ({"healthy": False, "unhealthy_reason": [{"message": "Transfer failed."}]}, ("failed", "Transfer failed.")),
        ({"healthy": False, "state": "broken_off"}, ("failed", "broken_off")),
        ({"healthy": None}, ("unknown", "snapmirrored, healthy is not told")),
    ],
)  # fmt: skip
def test_a_mirror(array, words, said):
    array.tree["/api/snapmirror/relationships"][0].update(words)
    assert bad(ask(array)) == ({"replication dr:vol0": said} if said else {})


def test_events_of_the_last_hour_and_open_alerts(array):
    now = time.time()
    events = [
        ("emergency", "a.b", 60),
        ("alert", "c.d", 60),
        ("alert", "c.d", 90),
        ("error", "e.f", 1),
        ("alert", "old", 7200),
    ]
    array.tree["/api/support/ems/events"] = [
        {"index": index, "time": now - age, "node": {"name": "n1"}, "message": {"name": name, "severity": severity}}
        for index, (severity, name, age) in enumerate(events)
    ]
    array.tree["/api/private/support/alerts"] = [
        {
            "node": {"name": "n2"},
            "name": "DualPathToDiskShelf_Alert",
            "resource": "50:0",
            "cause": {"message": "One path"},
        },
        {"node": {"name": "n2"}, "name": "X", "perceived_severity": "critical", "probable_cause": "Loss"},
    ]
    assert bad(ask(array)) == {
        "alert n2 DualPathToDiskShelf_Alert 50:0": ("degraded", "One path"),
        "alert n2 X": ("failed", "Loss"),
        "alert event n1 a.b": ("failed", "emergency, in the last hour"),
        "alert event n1 c.d": ("degraded", "alert, in the last hour"),
    }


def test_alerts_of_a_subsystem(array):
    array.tree["/api/private/cli/system/health/subsystem"][0].update(health="degraded", outstanding_alert_count=2)
    assert bad(ask(array)) == {"system SAS-connect": ("degraded", "degraded, 2 alerts")}


def test_a_version_without_the_private_paths_says_so(array):
    del array.tree["/api/private/cli/system/health/subsystem"], array.tree["/api/private/support/alerts"]
    found = ask(array)
    product = "ONTAP 9.14.1P2 c1 (without health subsystems and health alerts, which it does not offer)"
    assert (found.product, lost(found), bad(found)) == (product, [], {})


@pytest.mark.parametrize(("release", "asked"), [((9, 6), False), ((9, 7), True), ((10, 0), True), ((None, "x"), True)])
def test_aggregates_have_a_metric_since_9_7(array, release, asked):
    array.tree["/api/cluster"]["version"].update(generation=release[0], major=release[1])
    ask(array, ("performance",))
    assert next(line for line in array.log if "aggregates" in line).split("fields=")[1].split("&")[0] == (
        "name,state,metric" if asked else "name,state"
    )


def test_room_that_is_not_told_is_not_zero(array):
    array.tree["/api/storage/aggregates"][0]["space"] = {"block_storage": {"size": "10", "used": None}}
    array.tree["/api/storage/volumes"] = [
        {**volume("a"), "space": {}, "files": {}},
        volume("b", state="offline"),
        volume("c", autosize={"mode": "grow", "maximum": 200 * GB}),
        volume("d", aggregates=[{"name": "aggr1"}, {"name": "aggr2"}], style="flexgroup"),
    ]
    rooms = ask(array, ("capacity",)).rooms
    assert rooms[:3] == [
        Room("pool", "aggr1", None, None, None),
        Room("volume", "svm1:a", None, None),
        Room("volume", "svm1:c", 195.0 * GB, 40.0 * GB),
    ]


def test_what_is_promised_is_not_told_where_the_volumes_are_lost(array):
    array.faults["/api/storage/volumes"] = 500
    found = ask(array, ("capacity",))
    assert (found.rooms, lost(found)) == (
        [Room("pool", "aggr1", 10.0 * TB, 4.0 * TB)],
        [(UNREACHABLE, "volume", "HTTP 500")],
    )


@pytest.mark.parametrize(
    ("sample", "speed"),
    [
        (metric(200000), Speed("", 0.2, 2030.0, 104857600.0)),
        (metric(status="backfilled_data"), Speed("", 0.00085, 2030.0, 104857600.0)),
        (metric(status="partial_no_response"), Speed("")),
        ({**metric(), "latency": {"read": True, "write": "9"}, "iops": None}, Speed("", None, None, 104857600.0)),
        ({**metric(), "latency": {"read": 0, "write": 0}, "iops": {"total": 0}}, Speed("", 0.0, 0.0, 104857600.0)),
        (None, Speed("")),
    ],
)  # fmt: skip
def test_the_speed_of_the_cluster(array, sample, speed):
    array.tree["/api/cluster"]["metric"] = sample
    del array.tree["/api/storage/aggregates"][0]["metric"]  # before 9.7
    found = ask(array, ("performance",))
    if speed != Speed(""):
        assert (found.speeds, lost(found)) == ([speed], [])
        return
    said = "the sample is partial_no_response" if sample else "the sample is none at all"
    assert (found.speeds, lost(found)) == ([], [(UNREADABLE, "performance", said)])


@pytest.mark.parametrize(("fault", "kind", "error"), arrays.FAULTS)
@pytest.mark.parametrize("path", [path for path in LISTS if "private" not in path])
def test_a_list_that_fails_does_not_hide_the_rest(array, path, fault, kind, error):
    array.faults[path] = fault
    found = ask(array)
    if (path, fault) == (family.SENSORS, 404):  # before 9.11
        product = "ONTAP 9.14.1P2 c1 (without sensors, which it does not offer)"
        assert (found.product, lost(found)) == (product, [])
        return
    first = LISTS[path]
    assert lost(found)[: len(first)] == [(kind, of, error) for of in first]
    if fault == "half":  # nothing more is asked of an array that cuts us off
        assert {failed.error for failed in found.lost[len(first) :]} <= {arrays.REST}
    else:
        assert (len(found.lost), bad(found)) == (len(first), {})
    if fault == 403:
        assert found.lost[0].cure == family.RIGHT


def test_the_private_paths_refused(array):
    array.faults["/api/private/cli/system/health/subsystem"] = 403
    assert lost(ask(array)) == [(NOT_ALLOWED, "system", "HTTP 403")]


@pytest.mark.parametrize("path", list(LISTS))
@pytest.mark.parametrize("odd", arrays.ODD, ids=str)
def test_any_json_is_no_traceback(array, path, odd):
    array.faults[path] = lambda _: odd
    assert [failed.kind for failed in ask(array).lost] == [UNREADABLE] * len(LISTS[path])
    array.faults[path] = lambda _: {"records": [dict.fromkeys(("name", "state", "controller", "ha", "nvram", "bays", "frus", "fans", "space", "aggregates", "svm", "lag", "vlan", "location", "status", "message", "node", "metric", "outage", "files", "autosize", "health", "subsystem", "cause", "outstanding_alert_count", "unhealthy_reason", "healthy", "lag_time", "enabled", "threshold_state", "value"), odd), {}]}  # fmt: skip
    assert lost(ask(array)) == []


@pytest.mark.parametrize("path", ["/api/cluster/nodes", "/api/storage/disks"])
def test_an_empty_list_of_what_every_cluster_has_is_a_missing_right(array, path):
    array.tree[path] = []
    error = "the list is empty, as without the right to see it"
    assert lost(ask(array)) == [(NOT_ALLOWED, of, error) for of in LISTS[path]]


def test_pages(array):
    array.page = 1
    assert (bad(ask(array)), len(ask(array).rooms)) == ({}, 5)
    array.faults["/api/storage/disks"] = lambda page: {**page, "_links": {"next": {"href": "/api/storage/disks?x=1"}}}
    assert lost(ask(array)) == [(UNREADABLE, "disk", "pages without an end: 2 were read")]
    for link in (
        "https://192.0.2.9/api",
        "//192.0.2.9/api",
        "http://[",
        "file",
        f"http://127.0.0.1:{array.port + 1}/api",
    ):
        array.faults["/api/storage/disks"] = lambda page, link=link: {**page, "_links": {"next": {"href": link}}}
        found = ask(array)
        error = "is no address" if link == "http://[" else "leads elsewhere"
        assert lost(found) == [(UNREADABLE, "disk", f"the link to the next page {error}")]
        assert "disk 1.1.0" in healths(found)


@pytest.mark.parametrize(
    ("fault", "kind", "error"),
    [*[row for row in arrays.FAULTS if row[0] not in (401, 403)], (401, NOT_ALLOWED, "refused: HTTP 401"), (403, NOT_ALLOWED, "refused: HTTP 403")],
)  # fmt: skip
def test_a_cluster_that_does_not_answer(array, fault, kind, error):
    array.faults["/api/cluster"] = fault
    failed = failure(family, array)
    assert (failed.kind, failed.of, failed.error) == (kind, "", error)
    assert len(array.log) == 1


def test_logging_in(array):
    assert failure(family, array, password="wrong") == Failed(
        NOT_ALLOWED, "", "log in", "refused: HTTP 401", family.RIGHT
    )
    assert failure(family, array, user="").error == "no --user and --password were given"
    assert array.log == ["GET /api/cluster?fields=name,version,metric"]


def test_another_product(array):
    array.tree["/api/cluster"] = {"name": "other"}
    assert failure(family, array) == Failed(UNREADABLE, "", "GET /api/cluster", "no version.full: this is not ONTAP")


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_a_silent_cluster_is_given_up_in_time(array, fault):
    array.faults["/api/storage/disks"] = fault
    begun = time.monotonic()
    found = ask(array, seconds=4.0)
    assert time.monotonic() - begun < 3.5
    assert (found.lost[0].kind, found.lost[0].of) == (UNREACHABLE, "disk")
    assert {failed.kind for failed in found.lost} == {UNREACHABLE}
    assert "pool aggr1" in healths(found)


def test_nobody_there(array):
    array.__exit__()
    failed = failure(family, array)
    assert (failed.kind, failed.error) == (UNREACHABLE, "Connection refused")
    array._thread = __import__("threading").Thread()  # the fixture ends it again


def test_greeting(array):
    assert family.greet(Run(8.0), place(array)) == "ONTAP 9.14.1P2 c1"
    assert array.log == ["GET /api/cluster?fields=name,version"]
    with pytest.raises(Failed):
        family.greet(Run(8.0), place(array, password="wrong"))


def test_tls(tmp_path):
    pem = str(tmp_path / "array.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", pem, "-out", pem + ".crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    with open(pem, "a") as file, open(pem + ".crt") as certificate:
        file.write(certificate.read())
    with Ontap(certificate=pem) as array:
        failed = failure(family, array, plain=False)
        assert (failed.kind, "self-signed certificate" in failed.error.replace("self signed", "self-signed")) == (
            NOT_ALLOWED,
            True,
        )
        assert array.log == []
        assert bad(ask(array, plain=False, insecure=True)) == {}
        assert bad(ask(array, plain=False, ca_file=pem + ".crt")) == {}


def test_the_password_is_in_no_failure(array):
    for path in ["/api/cluster", *LISTS]:
        for fault in (401, 403, 500, "junk", "half"):
            array.faults = {path: fault}
            try:
                found = ask(array).lost
            except Failed as failed:
                found = [failed]
            assert "secret" not in repr(found)
            assert "bmFnaW9zOnNlY3JldA" not in repr(found)
