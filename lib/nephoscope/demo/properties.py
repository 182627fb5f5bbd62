# SPDX-License-Identifier: Apache-2.0
"""/services/Properties: DescribeProperties, and ModifyPropertyValue refused (config/PropertiesManager.java of 4.4.2).

ModifyPropertyValue with Name=euca runs the value as Groovy code in the real JVM; the simulator refuses all of them, so that a
check that asked for one would be found out.
"""

from __future__ import annotations

from nephoscope.demo import empyrean, wire
from nephoscope.demo.model import Answer, Cloud, Property, Request
from nephoscope.demo.wire import escape

PATHS = ("/services/Properties", "/internal/Properties")
VERSIONED = True
HIDDEN = "********"
_PER_ZONE = (
    ("cluster.sourcehostmatching", "", "Source host matching"),
    ("storage.blockstoragemanager", "overlay", "EBS Block Storage Manager to use for backend"),
    ("storage.maxtotalvolumesizeingb", "100", "Total disk space reserved for volumes"),
    ("storage.maxvolumesizeingb", "15", "Max volume size"),
    ("storage.snapshottransfertimeoutinhours", "48", "Snapshot transfer wait time in hours before giving up"),
    ("storage.tid", "5", "Next Target ID."),
)
_CLOUD = (
    ("authentication.access_keys_limit", "2", "Limit for access keys per user"),
    ("bootstrap.webservices.clock_skew_sec", "20", "Max clock skew allowed between client and server (in seconds)"),
    ("bootstrap.webservices.port", "8773", "Port to bind (default: 8773)"),
    ("bootstrap.webservices.ssl.server_password", "secret", "Alternative password for the keystore"),
    ("bootstrap.webservices.http_server_header", "default", "HTTP server header"),
    ("bootstrap.topology.local_check_backoff_secs", "10", "Backoff between service state checks (in seconds)"),
    ("cloud.network.network_configuration", '{ "Mode": "EDGE", "PublicIps": [ "203.0.113.10-203.0.113.17" ] }',
     "Network configuration document"),
    ("cloudwatch.enable_cloudwatch_service", "true", "Set this to true to enable the CloudWatch service"),
    ("dns.enabled", "true", "Enable pluggable DNS resolvers"),
    ("objectstorage.providerclient", "walrus", "Object Storage Provider client to use for backend"),
    ("objectstorage.queue_size", "100", "Channel buffer queue size for uploads"),
    ("services.imaging.worker.image", "NULL", "EMI containing imaging worker"),
    ("services.loadbalancing.worker.image", "NULL", "EMI containing haproxy and the controller"),
    ("stats.enable_stats", "true", "Enable Eucalyptus internal monitoring stats"),
    ("storage.global_total_snapshot_size_limit_gb", "50", "Maximum total snapshot capacity (GB)"),
    ("system.dns.dnsdomain", "cloud.example", "Domain name to use for DNS."),
)  # fmt: skip


def seed(cloud: Cloud) -> None:
    """Fill a new cloud with properties at their defaults, as an installer leaves them."""
    for zone in cloud.zones:
        for name, value, text in _PER_ZONE:
            _set(cloud, f"{zone}.{name}", value, text)
    for name, value, text in _CLOUD:
        if name == "cloudwatch.enable_cloudwatch_service" and not cloud.at_least(4, 4):
            name, value, text = "cloudwatch.disable_cloudwatch_service", "false", "Set this to true to stop the service"
        _set(cloud, name, value, text, hidden=name.endswith("password"))
    _set(cloud, "system.exec.io_chunk_size", "102400", "Size of IO chunks for streaming IO", read_only=True)


def _set(cloud: Cloud, name: str, value: str, text: str, *, hidden: bool = False, read_only: bool = False) -> None:
    cloud.properties[name] = Property(name, value, value, text, read_only, hidden)


def tell(cloud: Cloud, name: str, *value: str) -> None:
    """Set a property; without a value it is unset, and a name that was not there is added."""
    old = cloud.properties.get(name) or Property(name, "", "", "")
    cloud.properties[name] = old._replace(value=" ".join(value))


TELL = {"property": tell}


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer a signed request."""
    user, action = request.user, request.action
    if action not in ("DescribeProperties", "ModifyPropertyValue"):
        return empyrean.unknown(action)
    # Not a "user" operation: the account must be `eucalyptus`, whatever the policies of another say.
    if user is None or not user.of_system or not user.may(f"euprop:{action}") or action == "ModifyPropertyValue":
        return wire.fault(403, "Forbidden")
    wanted = [value for key, value in request.params.items() if key.partition(".")[0] in ("Property", "Properties")]
    p, _, attribute = empyrean.envelope(cloud, "properties")
    items = "".join(
        _item(cloud, each, p)
        for _, each in sorted(cloud.properties.items())
        if not wanted or any(each.name.startswith(start) for start in wanted)
    )
    root = f"{p}DescribePropertiesResponseType"
    listed = f"<{p}properties>{items}</{p}properties>" if items else f"<{p}properties/>"
    head = f"<{root} {attribute}>{empyrean.base(cloud, p, 'PropertiesMessage')}"
    return wire.xml(f"{head}{listed}</{root}>")


def _item(cloud: Cloud, each: Property, p: str) -> str:
    value = HIDDEN if each.hidden else each.value
    fields = [("name", each.name), ("value", value), ("description", each.description)]
    if cloud.at_least(4, 2):
        fields += [("defaultValue", HIDDEN if each.hidden else each.default), ("readOnly", str(each.read_only).lower())]
    return f"<{p}item>{''.join(f'<{p}{name}>{escape(text)}</{p}{name}>' for name, text in fields)}</{p}item>"
