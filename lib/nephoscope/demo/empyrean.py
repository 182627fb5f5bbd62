# SPDX-License-Identifier: Apache-2.0
"""/services/Empyrean, the bootstrap service: DescribeServices in the forms of 3.x to 4.4 and of 5.x.

MSGS/empyrean/EmpyreanService.java and EmpyreanMessages.groovy of 4.4.2, empyrean-binding.xml of 5.1.0. Every JVM answers with
its own view: in 4.4 only a request that names the cloud by its DNS name is passed on to the CLC (ServiceOperations.java,
HostDispatchFunction), not one to an address. How empty lists are written is UNCONFIRMED; here they are empty elements.
Nothing that changes anything is ever done: a monitoring account must not be able to ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nephoscope.demo import wire
from nephoscope.demo.model import NODE_TYPES, STATES, Answer, Cloud, Host, Request, Service
from nephoscope.demo.wire import escape

PATHS = ("/services/Empyrean", "/internal/Empyrean")
VERSIONED = True
EPOCH = 31
NAMESPACE_5 = "http://www.eucalyptus.com/ns/bootstrap/2017-05-04/"
WRITES = frozenset(
    ("ModifyService", "StartService", "StopService", "EnableService", "DisableService", "DestroyService", "RegisterService",
     "DeregisterService")
)  # fmt: skip
REGISTERED = ("eucalyptus", "cluster", "storage", "walrus", "walrusbackend", "user-api", "dns", "node", "arbitrator",
              "vmwarebroker", "proxy-cluster")  # fmt: skip
"""Types that an operator registers, beside the user services: always in the list."""


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer a signed request."""
    user, action = request.user, request.action
    if action not in ("DescribeServices", *WRITES):
        return unknown(action)
    # InternalOnlyHandler: administrators, else a policy; DescribeServices is open to other accounts, too.
    outside = user is None or not user.of_system
    if user is None or not user.may(f"euserv:{action}") or (outside and action != "DescribeServices"):
        return wire.fault(403, "Forbidden")
    if action in WRITES:
        # The real one would do it. The simulator does not, whoever asks.
        return wire.fault(403, "Forbidden")
    try:
        chosen = _chosen(cloud, request, outside)
    except ValueError as error:
        return wire.operation_fault(f"{action}Type", str(error))
    return wire.xml(_document(cloud, request, chosen, outside))


def unknown(action: str) -> Answer:
    """Return what is said of an action that has no message class (the text is UNCONFIRMED)."""
    return wire.fault(400, f"Failed to find corresponding class mapping for element: {action or 'null'}")


def envelope(cloud: Cloud, service: str) -> tuple[str, str, str]:
    """Return prefix, namespace and namespace attribute of a message of an internal service ("bootstrap", "properties")."""
    if cloud.at_least(5):
        space = f"http://www.eucalyptus.com/ns/{service}/2017-05-04/"
        return "", space, f'xmlns="{space}"'
    space = "http://msgs.eucalyptus.com"
    if cloud.at_least(3, 2):
        space += f"/{cloud.version}"
    return "euca:", space, f'xmlns:euca="{space}"'


def base(cloud: Cloud, prefix: str, name: str) -> str:
    """Return the element of the superclass of a message: up to 4.4 it has lists that are empty, in 5.x only two children."""
    p = prefix
    text = f"<{p}{name}><{p}correlationId>{wire.request_id()}</{p}correlationId><{p}_return>true</{p}_return>"
    if not cloud.at_least(5):
        text += f"<{p}_services/><{p}_disabledServices/><{p}_notreadyServices/><{p}_stoppedServices/>"
    return f"{text}</{p}{name}>"


# ---- what is listed


def _chosen(cloud: Cloud, request: Request, outside: bool) -> list[Service]:
    params = request.params
    here = cloud.hosts[request.host]
    kind = params.get("ByServiceType", "").lower()
    if kind and kind not in cloud.kinds():
        raise ValueError(f"No ComponentId with name: {kind}")
    tests: list[Callable[[Service], bool]] = []
    # The code takes `bootstrap` for "no type given": all are listed.
    if kind and (kind != "bootstrap" or outside):
        tests.append(lambda service: service.kind == kind)
    if params.get("ByPartition"):
        tests.append(lambda service: service.partition == params["ByPartition"])
    state = params.get("ByState", "").upper()
    if state:
        if state not in STATES:
            raise ValueError(f"No enum constant com.eucalyptus.component.Component.State.{state}")
        tests.append(lambda service: cloud.state(service, here)[0] == state)
    names = {value for key, value in params.items() if key.startswith("ServiceName")}
    if names:
        tests.append(lambda service: service.name in names or cloud.full_name(service) in names)
    if cloud.at_least(4, 2):
        tests += _filters(cloud, request, here)
    public = {*cloud.user_services(), "dns", "notifications", "jetty", "reporting"}
    if outside:
        tests.append(lambda service: service.kind in public)
    else:
        if params.get("ByHost"):
            tests.append(lambda service: service.host.address == params["ByHost"])
        if not _true(params, "ListAll"):
            own, inner = _true(params, "ListUserServices"), _true(params, "ListInternal")
            distributed = {*REGISTERED, "bootstrap", *(cloud.user_services() if cloud.at_least(4) else ())}
            if not cloud.at_least(4, 2):
                distributed.discard("dns")

            def wanted(service: Service) -> bool:
                if service.kind in distributed:
                    return True
                if service.host is not here:
                    return False
                if service.kind in public:
                    return True
                return inner or (own and service.kind in ("properties", "configuration", "component"))

            tests.append(wanted)
    found = [service for service in cloud.listed() if all(test(service) for test in tests)]
    return sorted(found, key=lambda service: (service.partition, service.host.address, service.name))


def _filters(cloud: Cloud, request: Request, here: Host) -> list[Callable[[Service], bool]]:
    """Filter.N.Name and Filter.N.Value.M: values are alternatives, filters add up, one of an unknown name matches nothing."""
    tests: list[Callable[[Service], bool]] = []
    members = cloud.user_services()
    known: dict[str, Callable[[Service], str]] = {
        "service-type": lambda service: service.kind,
        "host": lambda service: service.host.address,
        "state": lambda service: cloud.state(service, here)[0],
        "partition": lambda service: service.partition,
        "public": lambda service: _word(service.kind in members),
        "internal": lambda service: _word(service.kind not in members),
        "user-service": lambda service: _word(
            service.kind in ("bootstrap", "properties", "configuration", "component")
        ),
        "service-group": lambda service: "user-api" if service.kind in members else "",
        "service-group-member": lambda service: _word(service.kind in members),
    }
    for key, name in request.params.items():
        parts = key.split(".")
        if parts[0] == "Filter" and parts[-1] == "Name":
            start = f"Filter.{parts[1]}.Value"
            values = {value for other, value in request.params.items() if other.startswith(start)}
            look = known.get(name)
            if look is None:
                tests.append(lambda service: False)
            else:
                tests.append(lambda service, look=look, values=values: look(service) in values)  # type: ignore[misc]
    return tests


def _true(params: Mapping[str, str], name: str) -> bool:
    return params.get(name, "").lower() == "true"


def _word(value: bool) -> str:
    return "true" if value else "false"


# ---- how it is written


def _document(cloud: Cloud, request: Request, chosen: list[Service], outside: bool) -> str:
    p, _, attribute = envelope(cloud, "bootstrap")
    stacks = _true(request.params, "ShowEventStacks") and not outside
    events = (_true(request.params, "ShowEvents") or stacks) and not outside
    here = cloud.hosts[request.host]
    starts = ("By", "List", "Filter", "ServiceName")
    asked = tuple(sorted(pair for pair in request.params.items() if pair[0].startswith(starts)))
    key = (cloud.generation, cloud.vanished(), request.host, events, stacks, outside, asked)
    kept = cloud.resources.setdefault("empyrean.kept", {})
    if key not in kept:
        if len(kept) > 8:
            kept.clear()
        kept[key] = "".join(_item(cloud, service, here, p, events, stacks) for service in chosen)
    root = f"{p}DescribeServicesResponseType"
    items = f"<{p}serviceStatuses>{kept[key]}</{p}serviceStatuses>" if kept[key] else f"<{p}serviceStatuses/>"
    return f"<{root} {attribute}>{base(cloud, p, 'EmpyreanMessage')}{items}</{root}>"


def _item(cloud: Cloud, service: Service, here: Host, p: str, events: bool, stacks: bool) -> str:
    state, text = cloud.state(service, here)
    name, full, uri = escape(service.name), escape(cloud.full_name(service)), cloud.uri(service)
    address = service.host.address
    at = f"<{p}host>{address}</{p}host>" if cloud.at_least(4, 2) else ""
    accounts = f"<{p}serviceAccounts/>" if cloud.at_least(4, 2) else ""
    detail = _event(cloud, service, state, text, p, stacks) if events else ""
    details = f"<{p}statusDetails>{detail}</{p}statusDetails>" if detail else f"<{p}statusDetails/>"
    return (
        f"<{p}item><{p}serviceId><{p}partition>{escape(service.partition)}</{p}partition><{p}name>{name}</{p}name>"
        f"<{p}type>{service.kind}</{p}type><{p}fullName>{full}</{p}fullName>"
        f"<{p}uris><{p}item><{p}entry>{uri}</{p}entry></{p}item></{p}uris><{p}uri>{uri}</{p}uri>{at}</{p}serviceId>"
        f"<{p}localState>{escape(state)}</{p}localState><{p}localEpoch>{EPOCH}</{p}localEpoch><{p}details/>"
        f"{details}{accounts}</{p}item>"
    )


def _event(cloud: Cloud, service: Service, state: str, text: str, p: str, stacks: bool) -> str:
    if not text:
        return ""
    good = state in ("ENABLED", "DISABLED")
    if good and service.kind in NODE_TYPES:
        text += f"\nFound service status for {service.name}: {state}"
    stack = "java.lang.Exception: " + text + "\n\tat com.eucalyptus.component.Faults" if stacks else ""
    return (
        f"<{p}item><{p}severity>{'INFO' if good else 'ERROR'}</{p}severity><{p}uuid>{service.event}</{p}uuid>"
        f"<{p}message>{escape(text)}</{p}message><{p}serviceFullName>{escape(cloud.full_name(service))}</{p}serviceFullName>"
        f"<{p}serviceName>{escape(service.name)}</{p}serviceName><{p}serviceHost>{service.host.address}</{p}serviceHost>"
        f"<{p}stackTrace>{escape(stack)}</{p}stackTrace><{p}timestamp>{wire.java_date(cloud.booted)}</{p}timestamp></{p}item>"
    )
