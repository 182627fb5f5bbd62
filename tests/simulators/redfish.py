# SPDX-License-Identifier: Apache-2.0
"""A management controller that speaks Redfish, and can fail: `python tests/simulators/redfish.py [--port N]`.

Its answers are written by hand in the shapes of the DMTF schemas that each names in @odata.type (DSP8010 2021.4) and of
DSP0266 1.15 for sessions, collections, $expand and errors; the values are those of a two-socket rack server. It imports nothing
of Nephoscope. Faults are set by assigning to `Bmc.faults`: path -> 401, 403, 404, 500, 503, "half", "hang", "html", "drip", "slow"
(well, 0.8 s late); the path "DELETE" stands for every log-out.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import secrets
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OK = {"State": "Enabled", "Health": "OK"}
V1 = "/redfish/v1"
SYSTEM, CHASSIS, MANAGER = f"{V1}/Systems/1", f"{V1}/Chassis/1", f"{V1}/Managers/1"


def link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def collection(kind: str, paths: list[str]) -> dict[str, Any]:
    return {
        "@odata.type": f"#{kind}Collection.{kind}Collection", "Name": f"{kind} Collection",
        "Members@odata.count": len(paths), "Members": [link(path) for path in paths],
    }  # fmt: skip


def resource(kind: str, version: str, name: str, **rest: Any) -> dict[str, Any]:
    return {"@odata.type": f"#{kind}.{version}.{kind}", "Id": name, "Name": name, "Status": dict(OK), **rest}


def server() -> dict[str, dict[str, Any]]:
    """Return the resources of a healthy server: path -> object."""
    thermal, power, storage = f"{CHASSIS}/Thermal", f"{CHASSIS}/Power", f"{SYSTEM}/Storage/RAID"
    tree: dict[str, dict[str, Any]] = {
        f"{V1}/": {
            "@odata.type": "#ServiceRoot.v1_11_0.ServiceRoot", "Id": "RootService", "Name": "Root Service",
            "RedfishVersion": "1.15.0", "Product": "Simulated BMC",
            "ProtocolFeaturesSupported": {
                "ExpandQuery": {"Levels": False, "ExpandAll": False, "Links": False, "NoLinks": False},
            },
            "Systems": link(f"{V1}/Systems"), "Chassis": link(f"{V1}/Chassis"), "Managers": link(f"{V1}/Managers"),
            "SessionService": link(f"{V1}/SessionService"),
            "Links": {"Sessions": link(f"{V1}/SessionService/Sessions")},
        },
        f"{V1}/SessionService": resource("SessionService", "v1_1_8", "SessionService", SessionTimeout=1800),
        f"{V1}/Systems": collection("ComputerSystem", [SYSTEM]),
        f"{V1}/Chassis": collection("Chassis", [CHASSIS]),
        f"{V1}/Managers": collection("Manager", [MANAGER]),
        SYSTEM: resource(
            "ComputerSystem", "v1_16_0", "System", PowerState="On",
            Status={**OK, "HealthRollup": "OK"},
            MemorySummary={"TotalSystemMemoryGiB": 64, "Status": {"HealthRollup": "OK"}},
            ProcessorSummary={"Count": 2, "Status": {"HealthRollup": "OK"}},
            Memory=link(f"{SYSTEM}/Memory"), Processors=link(f"{SYSTEM}/Processors"), Storage=link(f"{SYSTEM}/Storage"),
        ),
        f"{SYSTEM}/Memory": collection("Memory", [f"{SYSTEM}/Memory/A1", f"{SYSTEM}/Memory/A2"]),
        f"{SYSTEM}/Memory/A1": resource("Memory", "v1_13_0", "DIMM A1", CapacityMiB=32768),
        f"{SYSTEM}/Memory/A2": resource("Memory", "v1_13_0", "DIMM A2", Status={"State": "Absent", "Health": None}),
        f"{SYSTEM}/Processors": collection("Processor", [f"{SYSTEM}/Processors/CPU1"]),
        f"{SYSTEM}/Processors/CPU1": resource("Processor", "v1_13_0", "CPU 1", TotalCores=16),
        f"{SYSTEM}/Storage": collection("Storage", [storage]),
        storage: resource(
            "Storage", "v1_11_0", "RAID Controller",
            StorageControllers=[{"MemberId": "0", "Name": "PERC", "Status": dict(OK)}],
            Drives=[link(f"{storage}/Drives/{n}") for n in (0, 1)],
            Volumes=link(f"{storage}/Volumes"),
        ),
        f"{storage}/Drives/0": resource("Drive", "v1_14_0", "Disk 0", FailurePredicted=False, MediaType="SSD", PredictedMediaLifeLeftPercent=93),
        f"{storage}/Drives/1": resource("Drive", "v1_14_0", "Disk 1", FailurePredicted=False, MediaType="HDD"),
        f"{storage}/Volumes": collection("Volume", [f"{storage}/Volumes/0"]),
        f"{storage}/Volumes/0": resource("Volume", "v1_6_2", "Virtual Disk 0", RAIDType="RAID1"),
        CHASSIS: resource(
            "Chassis", "v1_18_0", "Chassis", ChassisType="RackMount", PowerState="On", Thermal=link(thermal), Power=link(power),
        ),
        thermal: {
            "@odata.type": "#Thermal.v1_7_1.Thermal", "Id": "Thermal", "Name": "Thermal",
            "Temperatures": [
                {"MemberId": "0", "Name": "Inlet Temp", "Status": dict(OK), "ReadingCelsius": 23, "PhysicalContext": "Intake",
                 "UpperThresholdNonCritical": 43, "UpperThresholdCritical": 47, "LowerThresholdNonCritical": 3, "LowerThresholdCritical": -7},
                {"MemberId": "1", "Name": "CPU1 Temp", "Status": dict(OK), "ReadingCelsius": 51, "PhysicalContext": "CPU",
                 "UpperThresholdNonCritical": 88, "UpperThresholdCritical": 93},
                {"MemberId": "2", "Name": "CPU2 Temp", "Status": {"State": "Absent"}, "ReadingCelsius": None, "PhysicalContext": "CPU"},
            ],
            "Fans": [
                {"MemberId": "0", "Name": "Fan 1", "Status": dict(OK), "Reading": 5640, "ReadingUnits": "RPM", "LowerThresholdCritical": 600},
                {"MemberId": "1", "Name": "Fan 2", "Status": dict(OK), "Reading": 34, "ReadingUnits": "Percent"},
            ],
            "Redundancy": [
                {"MemberId": "0", "Name": "Fan Redundancy", "Mode": "N+m", "MinNumNeeded": 2, "Status": dict(OK),
                 "RedundancySet": [link(f"{thermal}#/Fans/0"), link(f"{thermal}#/Fans/1")]},
            ],
        },
        power: {
            "@odata.type": "#Power.v1_7_1.Power", "Id": "Power", "Name": "Power",
            "PowerControl": [{"MemberId": "0", "Name": "System Power Control", "PowerConsumedWatts": 344, "Status": dict(OK)}],
            "PowerSupplies": [
                {"MemberId": "0", "Name": "PS1", "Status": dict(OK), "LineInputVoltage": 230, "PowerOutputWatts": 170},
                {"MemberId": "1", "Name": "PS2", "Status": dict(OK), "LineInputVoltage": 229, "PowerOutputWatts": 174},
            ],
            "Voltages": [{"MemberId": "0", "Name": "CPU1 VCORE", "Status": dict(OK), "ReadingVolts": 1.78}],
            "Redundancy": [
                {"MemberId": "0", "Name": "PS Redundancy", "Mode": "N+m", "MinNumNeeded": 2, "Status": dict(OK),
                 "RedundancySet": [link(f"{power}#/PowerSupplies/0"), link(f"{power}#/PowerSupplies/1")]},
            ],
        },
        MANAGER: resource("Manager", "v1_13_0", "Manager", ManagerType="BMC", FirmwareVersion="6.00.30"),
    }  # fmt: skip
    for path, thing in tree.items():
        thing["@odata.id"] = path
    return tree


def modern(tree: dict[str, dict[str, Any]]) -> None:
    """Turn Thermal and Power into ThermalSubsystem and PowerSubsystem, as newer firmware offers them (DSP8010 2020.4 on)."""
    chassis = tree[CHASSIS]
    del chassis["Thermal"], chassis["Power"]
    cooling, feeding = f"{CHASSIS}/ThermalSubsystem", f"{CHASSIS}/PowerSubsystem"
    chassis["ThermalSubsystem"], chassis["PowerSubsystem"] = link(cooling), link(feeding)
    tree.update({
        cooling: resource(
            "ThermalSubsystem", "v1_0_0", "Thermal Subsystem", Fans=link(f"{cooling}/Fans"),
            ThermalMetrics=link(f"{cooling}/ThermalMetrics"),
            FanRedundancy=[{"RedundancyType": "NPlusM", "MinNeededInGroup": 2, "RedundancyGroup": [link("a"), link("b")], "Status": dict(OK)}],
        ),
        f"{cooling}/Fans": collection("Fan", [f"{cooling}/Fans/1"]),
        f"{cooling}/Fans/1": resource("Fan", "v1_1_0", "Fan 1", SpeedPercent={"Reading": 45, "SpeedRPM": 2200}),
        f"{cooling}/ThermalMetrics": {
            "@odata.type": "#ThermalMetrics.v1_0_0.ThermalMetrics", "Id": "ThermalMetrics", "Name": "Metrics",
            "TemperatureReadingsCelsius": [{"Reading": 24.5, "DeviceName": "Intake"}],
        },
        feeding: resource(
            "PowerSubsystem", "v1_1_0", "Power Subsystem", PowerSupplies=link(f"{feeding}/PowerSupplies"),
            PowerSupplyRedundancy=[{"RedundancyType": "NPlusM", "MinNeededInGroup": 2, "RedundancyGroup": [link("a")], "Status": dict(OK)}],
        ),
        f"{feeding}/PowerSupplies": collection("PowerSupply", [f"{feeding}/PowerSupplies/1"]),
        f"{feeding}/PowerSupplies/1": resource("PowerSupply", "v1_3_0", "PSU 1"),
    })  # fmt: skip


def pools(tree: dict[str, dict[str, Any]], disks: int = 2, expand: bool = True) -> None:
    """Turn it into an array: a storage service of its own with a pool (Swordfish 1.2: StoragePool 1.6, Capacity 1.2)."""
    place = f"{V1}/Storage/Array"
    new = {
        f"{V1}/Storage": collection("Storage", [place]),
        place: resource(
            "Storage", "v1_11_0", "Array", StoragePools=link(f"{place}/StoragePools"), Volumes=link(f"{place}/Volumes"),
            Controllers=link(f"{place}/Controllers"), Drives=[link(f"{place}/Drives/{n}") for n in range(disks)],
        ),
        f"{place}/Controllers": collection("StorageController", [f"{place}/Controllers/{n}" for n in "AB"]),
        f"{place}/StoragePools": collection("StoragePool", [f"{place}/StoragePools/1"]),
        f"{place}/StoragePools/1": resource(
            "StoragePool", "v1_6_0", "fast",
            Capacity={"Data": {"AllocatedBytes": 1000, "ConsumedBytes": 850, "ProvisionedBytes": 2500}},
        ),
        f"{place}/Volumes": collection("Volume", [f"{place}/Volumes/1"]),
        f"{place}/Volumes/1": resource("Volume", "v1_6_2", "lun1"),
        **{f"{place}/Controllers/{n}": resource("StorageController", "v1_2_0", f"SP {n}") for n in "AB"},
        **{f"{place}/Drives/{n}": resource("Drive", "v1_14_0", f"Bay {n}", FailurePredicted=False) for n in range(disks)},
    }  # fmt: skip
    for path, thing in new.items():
        thing["@odata.id"] = path
    tree.update(new)
    root = tree[f"{V1}/"]
    root.update({"Vendor": "Example", "Product": "Array 9000", "Storage": link(f"{V1}/Storage")})
    if expand:
        root["ProtocolFeaturesSupported"] = {
            "ExpandQuery": {"Levels": True, "MaxLevels": 2, "ExpandAll": True, "Links": True}
        }


class Bmc:
    """The controller: `tree` are its resources, `faults` what goes wrong where, `sessions` the tokens that live.

    limit      sessions it has; 0: no session service, HTTP Basic only
    page       members of one page where links are expanded
    log        requests taken: "METHOD path"
    """

    def __init__(
        self, *, user: str = "nagios", password: str = "secret", limit: int = 4, certificate: str = ""
    ) -> None:
        self.user, self.password, self.limit = user, password, limit
        self.tree = copy.deepcopy(server())
        self.page = 1 << 20
        self.faults: dict[str, Any] = {}
        self.sessions: dict[str, str] = {}  # path -> token
        self.log: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.block_on_close = False
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Bmc:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(bmc) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError, ssl.SSLError, socket.timeout):
                    super().handle()

            def answer(self, status: int, content: Any = None, **headers: str) -> None:
                body = b"" if content is None else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def error(self, status: int, message: str) -> None:
                self.answer(
                    status, {"error": {"code": f"Base.1.8.{message}", "message": message, "@Message.ExtendedInfo": []}}
                )

            def fails(self, path: str) -> bool:
                fault = bmc.faults.get(path)
                if fault is None:
                    return False
                if fault == "slow":
                    bmc._end.wait(0.8)
                    return False
                if isinstance(fault, int):
                    self.error(fault, "GeneralError")
                    return True
                if fault == "hang":
                    bmc._end.wait(60)
                elif fault == "html":
                    body = b"<html><title>Login</title></html>"
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return True
                else:
                    self.send_response(200)
                    self.send_header("Content-Length", "4000")
                    self.end_headers()
                    self.wfile.write(b'{"Members": [')
                    while fault == "drip" and not bmc._end.wait(0.1):
                        self.wfile.write(b" ")
                self.close_connection = True
                return True

            def allowed(self) -> bool:
                token = self.headers.get("X-Auth-Token")
                basic = base64.b64encode(f"{bmc.user}:{bmc.password}".encode()).decode()
                return token in bmc.sessions.values() or self.headers.get("Authorization") == f"Basic {basic}"

            def do_GET(self) -> None:
                path, _, query = self.path.partition("?")
                bmc.log.append(f"GET {self.path}")
                if self.fails(path):
                    return
                if path != f"{V1}/" and not self.allowed():
                    self.error(401, "NoValidSession")
                elif path not in bmc.tree or (path.startswith(f"{V1}/SessionService") and not bmc.limit):
                    self.error(404, "ResourceMissingAtURI")
                else:
                    thing = bmc.tree[path]
                    if "$expand" in query and "Members" in thing:
                        members = [bmc.tree.get(entry.get("@odata.id", ""), entry) for entry in thing["Members"]]
                        skip = int(query.partition("$skip=")[2] or 0)
                        thing = {**thing, "Members": members[skip : skip + bmc.page]}
                        if skip + bmc.page < len(members):
                            more = f"{path}?{query.partition('&')[0]}&$skip={skip + bmc.page}"
                            thing["Members@odata.nextLink"] = more
                    elif "$expand=*" in query:
                        thing = {
                            name: [bmc.tree.get(each.get("@odata.id", ""), each) for each in value] if isinstance(value, list) else value
                            for name, value in thing.items()
                        }  # fmt: skip
                    self.answer(200, thing)

            def do_POST(self) -> None:
                bmc.log.append(f"POST {self.path}")
                given = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                if self.fails(self.path):
                    return
                if self.path != f"{V1}/SessionService/Sessions" or not bmc.limit:
                    self.error(404, "ResourceMissingAtURI")
                elif (given.get("UserName"), given.get("Password")) != (bmc.user, bmc.password):
                    self.error(401, "ResourceAtUriUnauthorized")
                elif len(bmc.sessions) >= bmc.limit:
                    self.error(503, "SessionLimitExceeded")
                else:
                    place, token = f"{self.path}/{secrets.token_hex(4)}", secrets.token_hex(16)
                    bmc.sessions[place] = token
                    thing = {
                        "@odata.id": place,
                        "@odata.type": "#Session.v1_3_0.Session",
                        "Id": place[-8:],
                        "Name": "Session",
                        "UserName": bmc.user,
                    }
                    self.answer(201, thing, X_Auth_Token=token, Location=f"http://{self.headers.get('Host')}{place}")

            def do_DELETE(self) -> None:
                bmc.log.append(f"DELETE {self.path}")
                if self.fails("DELETE"):
                    return
                if self.headers.get("X-Auth-Token") not in bmc.sessions.values():
                    self.error(401, "NoValidSession")
                elif bmc.sessions.pop(self.path, None) is None:
                    self.error(404, "ResourceMissingAtURI")
                else:
                    self.answer(204)

        return Handler


if __name__ == "__main__":
    with Bmc() as bmc:
        print(f"http://127.0.0.1:{bmc.port}/redfish/v1/ (user {bmc.user}, password {bmc.password})", flush=True)
        time.sleep(1e6)
