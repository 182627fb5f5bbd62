# SPDX-License-Identifier: Apache-2.0
"""A simulated HPE 3PAR: its Web Services API 1.6 as HPE's own python-3parclient 4.4 speaks it.

Written from the developer's guides 1.2 and 1.3.1 and that client: POST /api/v1/credentials (201, {"key": …}), the header
X-HP3PAR-WSAPI-SessionKey, DELETE /api/v1/credentials/KEY, lists {"total", "members"}, errors {"code", "desc"} (403 with code 5
for a wrong password). Imports nothing of ours.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.simulators.array import Array

API = "/api/v1"


def members(*rows: Any) -> dict[str, Any]:
    return {"total": len(rows), "members": list(rows)}


def tier(size: int = 1000000, free: int = 600000) -> dict[str, Any]:
    return {
        "totalMiB": size, "freeMiB": free, "freeInitializedMiB": free, "freeUninitializedMiB": 0,
        "unavailableCapacityMiB": 0, "failedCapacityMiB": 0,
        "allocated": {"totalAllocatedMiB": size - free, "system": {"spareMiB": 50000},
                      "volumes": {"totalVolumesMiB": size - free, "capacityEfficiency": {"compaction": 2.1, "overProvisioning": 1.5}}},
    }  # fmt: skip


def volume(name: str, state: Any = 1) -> dict[str, Any]:
    return {
        "id": 7, "name": name, "provisioningType": 2, "copyType": 1, "baseId": 7, "readOnly": False, "state": state,
        "failedStates": [], "degradedStates": [], "additionalStates": [], "sizeMiB": 102400, "userCPG": "FC_r6",
        "userSpace": {"reservedMiB": 20480, "rawReservedMiB": 40960, "usedMiB": 10240, "freeMiB": 10240},
        "wwn": "50002AC0001A0024", "policies": {"staleSS": True, "system": False},
    }  # fmt: skip


def port(slot: int, **words: Any) -> dict[str, Any]:
    return {
        "portPos": {"node": 0, "slot": slot, "cardPort": 1}, "mode": 2, "linkState": 4, "nodeWWN": "2FF70002AC00006E",
        "portWWN": "20110002AC00006E", "type": 1, "protocol": 1, "partnerPos": {"node": 1, "slot": slot, "cardPort": 1},
        "failoverState": 1, **words,
    }  # fmt: skip


def storeserv() -> dict[str, Any]:
    """An array of two nodes in which all is well."""
    return {
        "system": {
            "id": 12345, "name": "3par1", "systemVersion": "3.3.1.410", "IPv4Addr": "192.0.2.7", "model": "HP_3PAR 8200",
            "serialNumber": "CZ00000001", "totalNodes": 2, "masterNode": 0, "onlineNodes": [0, 1], "clusterNodes": [0, 1],
            "chunkletSizeMiB": 1024, "totalCapacityMiB": 1000000, "allocatedCapacityMiB": 400000,
            "freeCapacityMiB": 600000, "failedCapacityMiB": 0,
        },
        "capacity": {"allCapacity": tier(2000000, 900000), "FCCapacity": tier(0, 0), "NLCapacity": tier(1000000, 300000),
                     "SSDCapacity": tier()},
        "cpgs": members(
            {"id": 0, "name": "FC_r6", "state": 1, "failedStates": [], "degradedStates": [], "numTPVVs": 9,
             "UsrUsage": {"totalMiB": 119808, "usedMiB": 114688}, "SAUsage": {"totalMiB": 8192, "usedMiB": 256},
             "SDUsage": {"totalMiB": 16384, "usedMiB": 1024},
             "SDGrowth": {"incrementMiB": 16384, "limitMiB": 256000, "warningMiB": 204800}},
            {"id": 1, "name": "NL_r6", "state": 1, "UsrUsage": {"totalMiB": 9, "usedMiB": 9}, "SDGrowth": {"incrementMiB": 1}},
        ),
        "volumes": members(volume("vv0"), volume("vv1")),
        "disks": members(*(
            {"id": disk, "position": f"0:{disk}:0", "state": 1, "manufacturer": "HGST", "model": "X", "serialNumber": "Y",
             "totalSizeMiB": 100000, "freeSizeMiB": 50000} for disk in range(4)
        )),
        "ports": members(port(1), port(2), port(3, type=3, linkState=5)),
        "remotecopygroups": members(
            {"name": "rcg", "role": 1, "targets": [{"targetName": "dr", "state": 3, "groupLastSyncTime": 1700000000}]},
        ),
        "systemreporter/attime/cpgstatistics/hires": members(
            {"name": "FC_r6", "IO": {"read": 100.5, "write": 50.5, "total": 151.0}, "queueLength": 1, "busyPct": 20,
             "KBytes": {"read": 1000.0, "write": 500.0, "total": 1500.0},
             "serviceTimeMS": {"read": 1.5, "write": 4.5, "total": 2.5}},
        ),
    }  # fmt: skip


class Wsapi(Array):
    """`tree` maps a path behind /api/v1/ to its answer; it has `limit` sessions."""

    def __init__(self, *, user: str = "nagios", password: str = "secret", limit: int = 4, **words: Any) -> None:
        super().__init__(**words)
        self.user, self.password, self.limit = user, password, limit
        self.tree = storeserv()

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: Any) -> Any:
        if path == "/api" and method == "GET":
            return 200, {"major": 1, "minor": 6, "revision": 0, "build": 30301234}, {}
        name = path[len(API) + 1 :]
        if name == "credentials" and method == "POST":
            if (body.get("user"), body.get("password")) != (self.user, self.password):
                return 403, {"code": 5, "desc": "invalid username or password"}, {}
            if len(self.sessions) >= self.limit:
                return 503, {"code": 1, "desc": "too many sessions"}, {}
            key = f"0-{secrets.token_hex(16)}-{secrets.token_hex(4)}"
            self.sessions.add(key)
            return 201, {"key": key, "desc": "Created session"}, {"Location": f"{API}/credentials/{key}"}
        if headers.get("X-HP3PAR-WSAPI-SessionKey") not in self.sessions:
            return 403, {"code": 6, "desc": "invalid session key"}, {}
        if method == "DELETE" and name.startswith("credentials/"):
            key = name.partition("/")[2]
            if key not in self.sessions:
                return 404, {"code": 7, "desc": "no such session"}, {}
            self.sessions.discard(key)
            return 200, None, {}
        if method != "GET":
            return 403, {"code": 2, "desc": "permission denied"}, {}
        found = self.tree.get(name)
        return (404, {"code": 8, "desc": "unknown URI"}, {}) if found is None else (200, found, {})


if __name__ == "__main__":
    with Wsapi() as array:
        print(f"http://127.0.0.1:{array.port}{API} (user {array.user}, password {array.password})", flush=True)
        time.sleep(1e6)
