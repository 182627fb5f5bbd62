# SPDX-License-Identifier: Apache-2.0
"""A simulated Pure FlashArray: REST 2.26 as py-pure-client 1.96 speaks it.

Written from the OpenAPI descriptions in that client: GET /api/api_version without a log-in, POST login with the header api-token
(200, header x-auth-token), POST logout, lists {"items": […], "more_items_remaining", "continuation_token", "total_item_count"},
limit, errors {"errors": [{"context", "message"}]}. Imports nothing of ours.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from tests.simulators.array import Array

API = "/api/2.26"
TB = 1 << 40


def flasharray() -> dict[str, Any]:
    """An array of two controllers in which all is well."""
    return {
        "arrays": [{"name": "pure1", "id": "a-1", "os": "Purity//FA", "version": "6.4.10", "capacity": 100 * TB, "parity": 1.0}],
        "arrays/space": [
            {"name": "pure1", "id": "a-1", "capacity": 100 * TB, "parity": 1.0, "time": 1700000000000,
             "space": {"total_physical": None, "total_used": 40 * TB, "total_provisioned": 300 * TB, "data_reduction": 5.1}},
        ],
        "arrays/performance": [
            {"name": "pure1", "id": "a-1", "time": 1700000000000, "usec_per_read_op": 310, "usec_per_write_op": 420,
             "usec_per_mirrored_write_op": 0, "reads_per_sec": 5000, "writes_per_sec": 3000, "others_per_sec": 10,
             "read_bytes_per_sec": 100000000, "write_bytes_per_sec": 50000000},
        ],
        "controllers": [
            {"name": "CT0", "mode": "primary", "model": "FA-X50R3", "status": "ready", "type": "array_controller", "version": "6.4.10"},
            {"name": "CT1", "mode": "secondary", "model": "FA-X50R3", "status": "ready", "type": "array_controller", "version": "6.4.10"},
        ],
        "drives": [
            {"name": "CH0.BAY0", "type": "SSD", "status": "healthy", "details": None, "capacity": 2 * TB},
            {"name": "CH0.BAY1", "type": "SSD", "status": "healthy", "details": None, "capacity": 2 * TB},
            {"name": "CH0.NVB0", "type": "NVRAM", "status": "healthy", "details": None, "capacity": 1 << 34},
            {"name": "CH0.BAY9", "type": "SSD", "status": "empty", "details": None, "capacity": None},
        ],
        "hardware": [
            {"name": name, "type": kind, "status": status, "details": None, "temperature": heat, "index": 0}
            for name, kind, status, heat in (
                ("CH0", "chassis", "ok", None), ("CH0.BAY0", "drive_bay", "ok", None), ("CH0.BAY1", "drive_bay", "ok", None),
                ("CH0.NVB0", "nvram_bay", "ok", None), ("CH0.PWR0", "power_supply", "ok", None),
                ("CH0.PWR1", "power_supply", "ok", None), ("CT0", "controller", "ok", None), ("CT1", "controller", "ok", None),
                ("CT0.FAN0", "cooling", "ok", None), ("CT0.TMP0", "temp_sensor", "ok", 27), ("CT0.ETH0", "eth_port", "ok", None),
                ("CT0.ETH9", "eth_port", "unused", None), ("CT0.FC0", "fc_port", "ok", None), ("CT0.SAS0", "sas_port", "ok", None),
                ("CT0.DCA0", "direct_compress_accelerator", "healthy", None), ("SH0", "storage_shelf", "not_installed", None),
            )
        ],
        "ports": [{"name": "CT0.FC0", "wwn": "52:4A:93:70:00:00:00:00", "iqn": None, "failover": None}],
        "array-connections": [{"name": "pure2", "type": "async-replication", "status": "connected", "version": "6.4.10"}],
        "pods": [
            {"name": "plain", "array_count": 1, "arrays": [{"name": "pure1", "status": "online", "mediator_status": "unknown"}]},
            {"name": "stretched", "array_count": 2, "mediator": "purestorage",
             "arrays": [{"name": "pure1", "status": "online", "mediator_status": "online"},
                        {"name": "pure2", "status": "online", "mediator_status": "online"}]},
        ],
        "alerts": [
            {"name": "10", "state": "open", "severity": "info", "code": 7, "component_name": "pure1", "summary": "An upgrade is there"},
            {"name": "11", "state": "closed", "severity": "critical", "code": 8, "component_name": "CT0", "summary": "It is over"},
        ],
    }  # fmt: skip


class Pure(Array):
    """`tree` is served under the newest of `versions`; `page` is the most items of one page."""

    def __init__(self, *, token: str = "t0k-en", page: int = 1000, limit: int = 10, **words: Any) -> None:
        super().__init__(**words)
        self.token, self.page, self.limit = token, page, limit
        self.tree = flasharray()
        self.versions: Any = ["1.0", "1.19", "2.0", "2.9", "2.26", "2.X"]

    def answer(self, method: str, path: str, query: dict[str, str], headers: Any, body: Any) -> Any:
        if path == "/api/api_version" and method == "GET":
            return 200, {"version": self.versions}, {}
        if not path.startswith(f"{API}/"):
            return 404, {"errors": [{"message": "Not found"}]}, {}
        name = path[len(API) + 1 :]
        if name == "login" and method == "POST":
            if headers.get("api-token") != self.token:
                return 401, {"errors": [{"context": None, "message": "Invalid API token."}]}, {}
            if len(self.sessions) >= self.limit:
                return 503, {"errors": [{"message": "too many sessions"}]}, {}
            token = secrets.token_hex(16)
            self.sessions.add(token)
            return 200, {"items": [{"username": "nagios"}]}, {"x-auth-token": token}
        if headers.get("x-auth-token") not in self.sessions:
            return 401, {"errors": [{"message": "Invalid session token."}]}, {}
        if name == "logout" and method == "POST":
            self.sessions.discard(headers.get("x-auth-token"))
            return 200, None, {}
        if method != "GET":
            return 403, {"errors": [{"message": "Not permitted."}]}, {}
        found = self.tree.get(name)
        if not isinstance(found, list):
            return 404, {"errors": [{"message": "Not found"}]}, {}
        if query.get("filter") == "state!='closed'":
            found = [row for row in found if row.get("state") != "closed"]
        start, size = (
            int(query.get("continuation_token", "at 0").split()[1]),
            min(self.page, int(query.get("limit", 1000))),
        )
        more = start + size < len(found)
        page = {"items": found[start : start + size], "more_items_remaining": more, "total_item_count": None}
        page["continuation_token"] = f"at {start + size}" if more else None
        return 200, page, {}


if __name__ == "__main__":
    with Pure() as array:
        print(f"http://127.0.0.1:{array.port}/ (token {array.token})", flush=True)
        time.sleep(1e6)
