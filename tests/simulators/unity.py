# SPDX-License-Identifier: Apache-2.0
"""A simulated Dell EMC Unity: its REST API as Dell's own library storops 1.2.12 speaks it.

Written from the Programmer's Guide and the answers recorded in storops: X-EMC-REST-CLIENT, HTTP Basic or a cookie, the header
EMC-CSRF-TOKEN which POST needs, {"@base", "updated", "links": [{"rel", "href": "&page=2"}], "entries": [{"content": …}]}, fields,
per_page, page, errors {"error": {"errorCode", "httpStatusCode", "messages"}}. Imports nothing of ours.
"""

from __future__ import annotations

import base64
import secrets
import time
from typing import Any

from tests.simulators.array import Array

TYPES = "/api/types"
TB = 1 << 40
NOW = "2024-02-01T10:00:00.000Z"


def thing(name: str, health: Any = 5, **words: Any) -> dict[str, Any]:
    descriptions = ["The component is operating normally. No action is required."]
    return {
        "id": name.lower().replace(" ", "_"), "name": name, "needsReplacement": False,
        "health": {"value": health, "descriptionIds": ["ALRT_COMPONENT_OK"], "descriptions": descriptions}, **words,
    }  # fmt: skip


def sample(metric: str, spa: Any, spb: Any, at: str = "2024-02-01T09:55:00.000Z") -> dict[str, Any]:
    return {
        "path": f"sp.*.storage.lun.*.{metric}",
        "timestamp": at,
        "interval": 300,
        "values": {"spa": spa, "spb": spb},
    }


def unity() -> dict[str, Any]:
    """An array of two storage processors in which all is well."""
    empty = thing("DPE Disk 9", health=5)
    empty["health"] = {"value": 5, "descriptionIds": ["ALRT_DISK_SLOT_EMPTY"], "descriptions": ["The slot is empty."]}
    return {
        "basicSystemInfo": [{"id": "0", "name": "FNM0001", "model": "Unity 500", "softwareVersion": "5.2.0", "apiVersion": "10.0"}],
        "system": [thing("FNM0001")],
        "storageProcessor": [thing("SP A"), thing("SP B")],
        "disk": [thing(f"DPE Disk {disk}") for disk in range(4)] + [empty],
        "pool": [thing("perfpool", sizeTotal=10 * TB, sizeUsed=4 * TB, sizeFree=6 * TB, sizeSubscribed=25 * TB)],
        "lun": [thing("lun1"), thing("lun2")],
        "filesystem": [thing("fs1", sizeTotal=TB, sizeUsed=TB // 2)],
        "nasServer": [thing("nas1")],
        "replicationSession": [thing("rep1")],
        "battery": [thing("SP A Battery 0"), thing("SP B Battery 0")],
        "powerSupply": [thing("DPE Power Supply A0"), thing("DPE Power Supply B0")],
        "fan": [thing("DPE Cooling Module A0")],
        "dpe": [thing("DPE")],
        "dae": [thing("DAE 0 1")],
        "lcc": [thing("DAE 0 1 Link Control Card A")],
        "ssc": [thing("DAE 0 1 SSC")],
        "ioModule": [thing("SP A I/O Module 0")],
        "memoryModule": [thing("SP A Memory Module 0")],
        "ssd": [thing("SP A SSD 0")],
        "fcPort": [thing("SP A FC Port 4")],
        "ethernetPort": [thing("SP A Ethernet Port 2")],
        "sasPort": [thing("SP A SAS Port 0")],
        "alert": [
            {"id": "alert_1", "severity": 6, "message": "User admin logged in.", "isAcknowledged": False, "state": 1},
        ],
        "metricValue": [
            sample("totalCallsRate", {"sv_1": 300.0, "sv_2": 100.0}, {"sv_1": 0.0, "sv_2": 0.0}),
            sample("responseTime", {"sv_1": 1000.0, "sv_2": 3000.0}, {"sv_1": 0.0, "sv_2": 0.0}),
            sample("readBytesRate", {"sv_1": "1000.5", "sv_2": "0.0"}, {"sv_1": "0", "sv_2": "0"}),
            sample("writeBytesRate", {"sv_1": 499.5, "sv_2": 0.0}, {"sv_1": 0.0, "sv_2": 0.0}),
        ],
    }  # fmt: skip


class Unity(Array):
    """`tree` is served; `page` is the most objects of one page; `stateless` alerts have no field `state`."""

    def __init__(
        self, *, user: str = "nagios", password: str = "secret", page: int = 2000, stateless: bool = False, **words: Any
    ) -> None:
        super().__init__(**words)
        self.user, self.password, self.page, self.stateless = user, password, page, stateless
        self.tree = unity()
        self.tokens: dict[str, str] = {}

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: Any) -> Any:
        if headers.get("X-EMC-REST-CLIENT") != "true":
            return 302, None, {"Location": "/index.html"}
        cookies = dict(pair.strip().partition("=")[::2] for pair in (headers.get("Cookie") or "").split(";"))
        session = cookies.get("mod_auth_emc", "")
        extra: dict[str, str] = {}
        if session not in self.sessions:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            if headers.get("Authorization") != f"Basic {pair}":
                return _error(401, "Unauthorized")
            session = f"value&{secrets.token_hex(8)}&1"
            self.sessions.add(session)
            self.tokens[session] = secrets.token_urlsafe(16)
            # The one that counts comes first: a client that keeps one cookie alone keeps the wrong one.
            extra["Set-Cookie"] = (
                f"mod_auth_emc={session}; path=/; secure; HttpOnly\r\nSet-Cookie: JSESSIONID=x; path=/api"
            )
        extra["EMC-CSRF-TOKEN"] = self.tokens[session]
        if method == "POST":
            if headers.get("EMC-CSRF-TOKEN") != self.tokens[session]:
                return _error(403, "Invalid CSRF token")
            if path == f"{TYPES}/loginSessionInfo/action/logout":
                if (body or {}).get("localCleanupOnly") is True:
                    self.sessions.discard(session)
                else:
                    self.sessions.clear()
                return 200, {"logoutOK": "true"}, {}
            return _error(403, "Not permitted")
        kind = self.tree.get(path[len(TYPES) + 1 :])
        if kind:  # what a type is: its attributes
            attributes = [{"name": field, "type": "String", "description": ""} for field in kind[0]]
            return 200, {"content": {"name": path[len(TYPES) + 1 :], "type": 1, "attributes": attributes}}, extra
        name = path[len(TYPES) + 1 : -len("/instances")]
        if name == "loginSessionInfo":
            return 200, _page(path, [{"id": session, "idleTimeout": 3600}], 0, 1), extra
        found = self.tree.get(name)
        if method != "GET" or found is None:
            status, content, _ = _error(404, "The requested resource does not exist. (Error Code:0x7d13005)")
            return status, content, extra
        if name == "alert" and self.stateless and "state" in query.get("fields", "").split(","):
            return _error(422, "The attribute state does not exist")
        if name == "metricValue":
            found = [row for row in found if f'"{row["path"]}"' in query.get("filter", "")]
        size = min(self.page, int(query.get("per_page", 2000)))
        page = int(query.get("page", 1)) if query.get("page", "1").isdigit() else 1
        return 200, _page(path, found, page, size), extra


def _page(path: str, found: Any, page: int, size: int) -> dict[str, Any]:
    start = max(0, page - 1) * size
    links = [{"rel": "self", "href": f"&page={page}"}]
    if start + size < len(found):
        links.append({"rel": "next", "href": f"&page={page + 1}"})
    entries = [{"content": row} for row in found[start : start + size]]
    return {"@base": f"https://192.0.2.8{path}?per_page={size}", "updated": NOW, "links": links, "entries": entries}


def _error(status: int, message: str) -> tuple[int, Any, dict[str, str]]:
    error = {"errorCode": 131149829, "httpStatusCode": status, "messages": [{"en-US": message}], "created": NOW}
    return status, {"error": error}, {}


if __name__ == "__main__":
    with Unity() as array:
        print(f"http://127.0.0.1:{array.port}/api (user {array.user}, password {array.password})", flush=True)
        time.sleep(1e6)
