# SPDX-License-Identifier: Apache-2.0
"""A simulated ONTAP 9.14 cluster: its REST API as `netapp_ontap` 9.19.1 and NetApp Harvest 2 speak it.

Written from the ONTAP REST API reference: collections {"records": […], "num_records": n, "_links": {"next": {"href": …}}},
`fields`, `max_records`, filters `field=value`, `field=!value`, `field=a|b`, HTTP Basic, errors {"error": {"message", "code"}}.
`tree` maps a collection to its records. Imports nothing of ours.
"""

from __future__ import annotations

import base64
import time
from typing import Any
from urllib.parse import urlencode

from tests.simulators.array import Array

VERSION = "NetApp Release 9.14.1P2: Sun Jan 21 13:36:52 UTC 2024"
TB = 1 << 40


def dig(thing: Any, path: str) -> Any:
    for name in path.split("."):
        thing = thing.get(name) if isinstance(thing, dict) else None
    return thing


def metric(latency: int = 850, **words: Any) -> dict[str, Any]:
    return {
        "timestamp": "2024-02-01T10:00:00Z", "duration": "PT15S", "status": "ok",
        "latency": {"other": 90, "total": latency - 100, "read": latency, "write": latency - 300},
        "iops": {"read": 1200, "write": 800, "other": 30, "total": 2030},
        "throughput": {"read": 62914560, "write": 41943040, "other": 0, "total": 104857600}, **words,
    }  # fmt: skip


def volume(name: str, size: int = 100 << 30, used: int = 40 << 30, **words: Any) -> dict[str, Any]:
    return {
        "uuid": f"uuid-{name}", "name": name, "svm": {"name": "svm1", "uuid": "u-svm1"}, "state": "online", "type": "rw",
        "style": "flexvol", "aggregates": [{"name": "aggr1", "uuid": "u-aggr1"}],
        "space": {"size": size, "used": used, "available": size - used,
                  "snapshot": {"reserve_percent": 5, "reserve_size": size // 20, "used": 1 << 30}},
        "autosize": {"mode": "off", "maximum": size * 2}, "files": {"maximum": 1000, "used": 100}, **words,
    }  # fmt: skip


def node(name: str, **words: Any) -> dict[str, Any]:
    return {
        "uuid": f"u-{name}", "name": name, "state": "up", "uptime": 864000, "membership": "member", "model": "FAS2720",
        "controller": {"over_temperature": "normal",
                       "failed_fan": {"count": 0, "message": {"code": "111411207", "message": "There are no failed fans."}},
                       "failed_power_supply": {"count": 0, "message": {"code": "111411208", "message": "none"}}},
        "nvram": {"battery_state": "battery_ok", "id": 1},
        "ha": {"enabled": True, "auto_giveback": True, "partners": [{"name": "partner"}],
               "takeover": {"state": "not_attempted"}, "giveback": {"state": "nothing_to_giveback"}}, **words,
    }  # fmt: skip


def shelf(name: str = "1.1", disks: int = 4) -> dict[str, Any]:
    return {
        "uid": "3109174803597886800", "name": name, "serial_number": "SHU0954292N0HAH", "state": "ok", "model": "DS224-12",
        "bays": [{"id": bay, "has_disk": bay < disks, "type": "single_disk", "state": "ok"} for bay in range(disks + 1)],
        "frus": [{"id": 1, "type": "module", "state": "ok", "installed": True, "serial_number": "8003900130"},
                 {"id": 1, "type": "psu", "state": "ok", "installed": True},
                 {"id": 2, "type": "psu", "state": "ok", "installed": True},
                 {"id": 3, "type": "psu", "state": "error", "installed": False}],
        "fans": [{"id": 1, "state": "ok", "installed": True, "rpm": 3000, "location": "rear of the shelf"}],
        "temperature_sensors": [{"id": 1, "state": "ok", "installed": True, "temperature": 20, "ambient": True}],
        "voltage_sensors": [{"id": 1, "state": "ok", "installed": True, "voltage": 5.07}],
        "current_sensors": [{"id": 1, "state": "ok", "installed": True, "current": 6990}],
    }  # fmt: skip


def port(name: str, at: str = "n1", **words: Any) -> dict[str, Any]:
    return {
        "uuid": f"u-{at}-{name}", "name": name, "node": {"name": at}, "enabled": True, "state": "up", "type": "physical",
        "broadcast_domain": {"name": "Default", "ipspace": {"name": "Default"}}, **words,
    }  # fmt: skip


def cluster(disks: int = 4, volumes: int = 2) -> dict[str, Any]:
    """A cluster of two nodes in which all is well."""
    return {
        "/api/cluster": {
            "name": "c1", "uuid": "u-c1", "version": {"full": VERSION, "generation": 9, "major": 14, "minor": 1},
            "metric": metric(), "statistics": {"status": "ok"},
        },
        "/api/cluster/nodes": [node("n1"), node("n2")],
        "/api/cluster/sensors": [
            {"node": {"name": "n1"}, "name": "Ambient Temp", "index": 1, "type": "thermal", "value": 24, "value_units": "C",
             "threshold_state": "normal"},
            {"node": {"name": "n1"}, "name": "PSU1 Fan1", "index": 2, "type": "fan", "value": 5200, "value_units": "RPM",
             "threshold_state": "normal"},
            {"node": {"name": "n1"}, "name": "Batt Present", "index": 3, "type": "discrete", "discrete_value": "PRESENT",
             "threshold_state": "normal", "discrete_state": "normal"},
        ],
        "/api/storage/aggregates": [
            {"uuid": "u-aggr1", "name": "aggr1", "state": "online", "node": {"name": "n1"}, "metric": metric(),
             "space": {"block_storage": {"size": 10 * TB, "used": 4 * TB, "available": 6 * TB,
                                         "physical_used_percent": 38}}},
        ],
        "/api/storage/disks": [
            {"name": f"1.1.{bay}", "uid": f"uid-{bay}", "bay": bay, "shelf": {"uid": "3109174803597886800"},
             "effective_type": "ssd", "state": "spare" if bay == disks - 1 else "present",
             "container_type": "spare" if bay == disks - 1 else "aggregate"} for bay in range(disks)
        ],
        "/api/storage/shelves": [shelf("1.1", disks)],
        "/api/storage/volumes": [volume(f"vol{index}") for index in range(volumes)],
        "/api/storage/luns": [
            {"uuid": "u-lun", "name": "/vol/vol0/lun0", "svm": {"name": "svm1"},
             "status": {"state": "online", "container_state": "online", "mapped": True, "read_only": False}},
        ],
        "/api/network/ip/interfaces": [
            {"uuid": "u-lif1", "name": "lif1", "svm": {"name": "svm1"}, "enabled": True, "state": "up",
             "location": {"is_home": True, "node": {"name": "n1"}, "port": {"name": "e0c"}}},
        ],
        "/api/network/ethernet/ports": [port("e0c"), port("e0d")],
        "/api/network/fc/ports": [
            {"uuid": "u-0e", "name": "0e", "node": {"name": "n1"}, "enabled": True, "state": "online"},
        ],
        "/api/snapmirror/relationships": [
            {"uuid": "u-sm", "source": {"path": "svm1:vol0"}, "destination": {"path": "dr:vol0"}, "state": "snapmirrored",
             "healthy": True, "lag_time": "PT8M42S"},
        ],
        "/api/support/ems/events": [],
        "/api/private/cli/system/health/subsystem": [
            {"subsystem": name, "health": "ok", "outstanding_alert_count": 0}
            for name in ("SAS-connect", "Switch-Health", "Environment")
        ],
        "/api/private/support/alerts": [],
    }  # fmt: skip


class Ontap(Array):
    """`tree` is served; `page` is the most records of one page, whatever the client asks for."""

    def __init__(self, *, user: str = "nagios", password: str = "secret", page: int = 10000, **words: Any) -> None:
        super().__init__(**words)
        self.user, self.password, self.page = user, password, page
        self.tree = cluster()

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: Any) -> Any:
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if headers.get("Authorization") != f"Basic {pair}":
            return 401, "<html><body>Unauthorized</body></html>", {"WWW-Authenticate": 'Basic realm="ONTAP"'}
        if method != "GET":
            return 403, {"error": {"message": "not authorized for that command", "code": "6"}}, {}
        found = self.tree.get(path)
        if found is None:
            return 404, {"error": {"message": "API not found", "code": "3"}}, {}
        if not isinstance(found, list):
            return 200, found, {}
        start, size = int(query.get("start.index", 0)), min(self.page, int(query.get("max_records", 10000)))
        names = ("fields", "max_records", "return_timeout", "start.index", "suppress", "order_by")
        wanted = {name: value for name, value in query.items() if name not in names}
        records = [record for record in found if all(_fits(record, *item) for item in wanted.items())]
        page = {"records": records[start : start + size], "num_records": len(records[start : start + size])}
        page["_links"] = {"self": {"href": path}}
        if start + size < len(records):
            page["_links"]["next"] = {"href": f"{path}?{urlencode({**query, 'start.index': start + size})}"}
        return 200, page, {}


def _fits(record: dict[str, Any], name: str, value: str) -> bool:
    held = dig(record, name)
    if value.startswith("!"):
        return str(held) != value[1:]
    if value.startswith(">="):
        return float(held) >= float(value[2:])
    return str(held) in value.split("|")


if __name__ == "__main__":
    with Ontap() as array:
        print(f"http://127.0.0.1:{array.port}/ (user {array.user}, password {array.password})", flush=True)
        time.sleep(1e6)
