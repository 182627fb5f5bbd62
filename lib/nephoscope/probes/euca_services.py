# SPDX-License-Identifier: Apache-2.0
"""What services a Eucalyptus cloud has and in which states, by DescribeServices or, without credentials, by Heartbeat.

Sources (github eucalyptus/eucalyptus 3.1 to 4.4, Corymbia/eucalyptus 5.x): empyrean/EmpyreanMessages.groovy (fields),
empyrean/EmpyreanService.java (parameters), component/Component.java (states), ServiceConfigurations.java ("n/a: ..."),
empyrean-binding.xml (5.x). Up to 4.4 every name has the prefix euca:, in 5.x none; lists that are empty come as an empty
element or not at all. The partition of a user service is the name of its UFS and no zone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from nephoscope.base import LATE, NOT_ALLOWED, UNREADABLE, Failed, Run, samples
from nephoscope.probes import euca_topology, high_water
from nephoscope.probes.euca_topology import Topology

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime
    from xml.etree.ElementTree import Element

    from nephoscope.probes.euca_api import Access

ENABLED, DISABLED = "ENABLED", "DISABLED"
NOT_ENABLED = "not enabled"
"""Our own word: all that a Heartbeat can say of a registered service that does not serve."""
NOT_SERVING = ("NOTREADY", "BROKEN", "STOPPED", "BUGGY", NOT_ENABLED)
STARTING = ("LOADED", "INITIALIZED", "PRIMORDIAL")
"""The states of a service on its way up."""
WORKERS = ("loadbalancingbackend", "imagingbackend")
"""NOTREADY as long as nobody installs their worker image (faults 1014 and 1015)."""
PAIRED = (
    "eucalyptus",
    "walrus",
    "walrusbackend",
    "cluster",
    "storage",
    "vmwarebroker",
    "proxyclustercontroller",
    "proxy-cluster",
)
"""Types of which one serves, and at most one more stands by (3.x to 4.1); of all others any number may serve."""
PRIVATE = ("eucalyptus", "bootstrap", "cluster", "storage", "walrus", "walrusbackend", "node")
"""Types that nobody outside the account eucalyptus is shown; a list of everything has some of them."""
REGISTERED = (*PAIRED, "user-api", "objectstorage", "arbitrator")
"""Types that an operator registers; they are known on every host, internal ones on their own host only."""
LOCAL = ("node", "bootstrap", "component", "configuration", "db", "gatherlog", "jetty", "ldap", "notifications",
         "pollednotifications", "properties", "reporting", "clusterservice")  # fmt: skip
"""Types of which each host may have its own word: their states are not compared between hosts."""
SEVERITIES = ("TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "URGENT", "FATAL")
NO_MESSAGE = ("", "UNSET", "No summary information available.")
MESSAGE = 200  # characters of an event that are told
SIDE_BY_SIDE = 4  # hosts that are asked at a time: each answer may hold some MiB
ZONES = {"UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Service(NamedTuple):
    """One registered service, as one host tells it.

    zone     its partition: a zone for the types of euca_topology.ZONED only
    host     address or name of its host: the field (since 4.2), else that of the URI, "" when neither is told
    uri      "" when it has none
    state    the word as it came, known or not; "n/a: ..." when the server could not read it
    message  the first line of its worst event, "" without one
    at       when that was, UTC; None without an event, or when its time zone's name does not tell its offset
    """

    type: str
    zone: str
    name: str
    host: str = ""
    uri: str = ""
    state: str = ""
    message: str = ""
    at: datetime | None = None

    @property
    def of(self) -> str:
        """The service as filters and findings name it."""
        return f"{self.type} {self.name}"

    @property
    def group(self) -> str:
        """What can stand in for it: its type, and of types that belong to a zone only those of the same zone."""
        return f"{self.type}_{self.zone}" if self.type in euca_topology.ZONED else self.type


class Cloud(NamedTuple):
    """What was seen, and what was not.

    services  all but nodes, without those that a filter leaves out
    nodes     zone -> how many nodes are ENABLED, how many are listed
    standby   of what, as `Service.of`, DISABLED is right
    missing   name -> why it should be there
    vanished  name -> seconds since it was last listed
    starting  name -> seconds since it was first seen on its way up
    split     name -> what each host says of it, where they differ
    views     how many hosts told their view, the one that was asked first included
    unseen    what this way of asking can't tell, "" when it tells all
    told      whether anything says what should exist
    """

    services: tuple[Service, ...] = ()
    nodes: Mapping[str, tuple[int, int]] = {}
    standby: frozenset[str] = frozenset()
    missing: Mapping[str, str] = {}
    vanished: Mapping[str, float] = {}
    starting: Mapping[str, float] = {}
    split: Mapping[str, str] = {}
    views: int = 1
    failures: tuple[Failed, ...] = ()
    unseen: str = ""
    told: bool = False
    kept: Any = None

    @property
    def numbers(self) -> Mapping[str, int]:
        """Group -> how many of it are ENABLED; nodes are the group node_ZONE."""
        serving = {group: len(names) for group, names in self.serving().items()}
        return {**serving, **{f"node_{zone}": enabled for zone, (enabled, _) in self.nodes.items()}}

    def met(self, expected: Iterable[tuple[str, int]]) -> Iterator[tuple[str, str, str]]:
        """Yield each type (in whatever zone) or group of which so many should be ENABLED, how that stands, and it in words.

        Words: "serves", "unserved" (there are fewer), "unknown" (this way of asking does not see it).
        """
        for name, least in expected:
            found = [count for group, count in self.numbers.items() if name in (group, group.partition("_")[0])]
            if self.unseen and not found:
                yield name, "unknown", "is not seen by Heartbeat"
            else:
                word = "unserved" if sum(found) < least else "serves"
                yield name, word, f"has {sum(found)} ENABLED, {least} expected"

    @property
    def looked(self) -> bool:
        """Whether anything was looked at, well or not."""
        return bool(self.services or self.missing or self.failures)

    def count(self, state: str) -> int:
        """Return how many services are in a state, in whatever case it is written."""
        return sum(service.state == state.upper() for service in self.services)

    def standings(self) -> Iterator[tuple[str, str, str]]:
        """Yield the name of each service, how it stands (see `standing`), and that in words."""
        serving = self.serving()
        for service in self.services:
            others = tuple(name for name in serving[service.group] if name != service.name)
            yield (service.of, *standing(service, others, service.of in self.standby))

    @property
    def summary(self) -> str:
        """What was looked at, in one clause, whatever its state; and what this could not notice."""
        enabled, listed = (sum(counts) for counts in zip((0, 0), *self.nodes.values()))
        text = f"{len(self.services)} service{'s' * (len(self.services) != 1)}"
        text += f", {enabled} of {listed} nodes enabled" if self.nodes else ""
        text += f", {self.views} views" if self.views > 1 else ""
        text += f"; {self.unseen}" if self.unseen else ""
        return text if self.told else f"{text}; what never was there is not missed without --topology or --expect"

    def serving(self) -> Mapping[str, tuple[str, ...]]:
        """Return group -> names of its members that are ENABLED, sorted; a group without one has ()."""
        found: dict[str, list[str]] = {service.group: [] for service in self.services}
        for service in self.services:
            if service.state == ENABLED:
                found[service.group].append(service.name)
        return {group: tuple(sorted(names)) for group, names in sorted(found.items())}


def standing(service: Service, others: tuple[str, ...], standby: bool = False) -> tuple[str, str]:
    """Return how a service stands, and that in words.

    others   names of those that are ENABLED in its place
    standby  DISABLED is declared to be right for it
    Words: "serves"; "standby" (DISABLED, and another serves); "starting"; "worker" (NOTREADY, as it is until its worker image
    is installed); "lessened" (it should serve and does not, but another does); "unserved" (and no other does); "split" (two
    serve where one may); "unknown". An object gateway that is DISABLED beside another stands by only when that is declared:
    it lost its provider (wiki, Scalable-Walrus-4.0).
    """
    state, kind = service.state, service.type
    text = f"is {state}"
    if state == ENABLED and others and kind in PAIRED:
        return "split", f"{text}, and so is {', '.join(others)}: only one of a pair may serve"
    if state == ENABLED:
        return "serves", text
    if state == DISABLED and others and (standby or kind != "objectstorage"):
        return "standby", f"{text}, standing by for {', '.join(others)}"
    if state == NOT_ENABLED and others and standby:
        return "standby", f"{text}, as it should be while {', '.join(others)} serves"
    if state not in (DISABLED, *NOT_SERVING, *STARTING) and not state.startswith("n/a:"):
        return "unknown", f"is in a state that is not understood: '{state}'"
    word = "lessened" if others else "unserved"
    if others:
        text += f": redundancy lost, {', '.join(others)} serves alone" if kind in PAIRED else ", others serve"
    elif kind in WORKERS and state == "NOTREADY":
        word, text = "worker", f"{text}, as it is without a worker image"
    else:
        text += f", nobody serves zone {service.zone}" if service.group != kind else ", nobody else serves"
    if state in STARTING:
        word = "starting"
    return word, f"{text}: {service.message}" if service.message else text


def describe(run: Run, access: Access, of: str = "", **params: str) -> list[Service]:
    """Return what one DescribeServices lists, in the server's order, nodes included. Raises Failed.

    of      name of the host, when it is one of several
    params  of the request: ListAll, ShowEvents ("true"), ByServiceType
    """
    from nephoscope.probes import euca_api

    root = euca_api.ask(run, access, "bootstrap", "DescribeServices", params, of=of)
    found = list(parse(root, of))
    root.clear()
    return found


def place(access: Access) -> str:
    """Return "host:port" of whom DescribeServices is asked."""
    from nephoscope.probes import euca_api

    return euca_api.place(access.url("bootstrap"))


def parse(root: Element, of: str = "") -> Iterator[Service]:
    """Yield the services of an answer, the tags of which have neither prefix nor name space.

    Raises Failed unreadable when an entry names no service: of an answer in another form nothing may be believed.
    """
    words: dict[str, str] = {}  # of 2,000 nodes each has the same type, zone and state: one string each

    def text(element: Element, path: str) -> str:
        word = (element.findtext(path) or "").strip()
        return words.setdefault(word, word)

    for item in root.iterfind("serviceStatuses/item"):
        kind, name = text(item, "serviceId/type"), text(item, "serviceId/name")
        if not kind or not name:
            error = "an entry of the list has no type or no name"
            raise Failed(UNREADABLE, of, "DescribeServices", error)
        uri = text(item, "serviceId/uri")
        uri = "" if uri == "none" else uri
        message, at = _worst(item.iterfind("statusDetails/item"))
        yield Service(
            kind,
            text(item, "serviceId/partition"),
            name,
            text(item, "serviceId/host") or _host(uri),
            uri,
            _line(text(item, "localState")),
            words.setdefault(message, message),
            at,
        )


def when(text: str) -> datetime | None:
    """Return the UTC time that java.util.Date.toString() wrote, "Sun Nov 18 22:11:13 PST 2012".

    None for any other form, and for names of time zones that are ambiguous or not known.
    """
    from datetime import datetime, timedelta, timezone

    try:
        _, month, day, clock, zone, year = text.split()
        hour, minute, second = (int(part) for part in clock.split(":"))
        local = datetime(int(year), MONTHS.index(month) + 1, int(day), hour, minute, second, tzinfo=timezone.utc)
        return local - timedelta(hours=ZONES[zone])
    except (ValueError, KeyError):
        return None


def look(run: Run, options: Any) -> Cloud:
    """Return what the host that is asked says, what those of --views say otherwise, and what is missing.

    options  of the check: topology, heartbeat, standby, views, remember, and those of euca_api.access
    Raises Failed when the first host does not answer, or shows only what everybody may see.
    """
    topology = euca_topology.read(run, options.topology)
    if options.heartbeat:
        return _by_heartbeat(run, options, topology or Topology())
    from nephoscope.probes import euca_api

    access = euca_api.access(options, run)
    listed = describe(run, access, ListAll="true", ShowEvents="true")
    if not any(service.type in PRIVATE for service in listed):
        error = f"{len(listed)} services are shown, and only such as any user sees"
        raise Failed(NOT_ALLOWED, "", "DescribeServices", error)
    asked = place(access)
    views = _views(run, access, _hosts(options.views, topology, listed, asked), options.port or 8773)
    services = [service for service in listed if service.type != "node"]
    failures = tuple(view for view in views.values() if isinstance(view, Failed))
    told = {host: view for host, view in views.items() if not isinstance(view, Failed)}
    split = {of: said for of, said in differences(services, asked, told) if _wanted(run, of)}
    nodes: dict[str, tuple[int, int]] = {}
    for service in listed:
        if service.type == "node" and "node" not in run.exclude:
            enabled, total = nodes.get(service.zone, (0, 0))
            nodes[service.zone] = (enabled + (service.state == ENABLED), total + 1)
    cloud = _cloud(run, options, topology, services, dict(absent(topology, listed)) if topology else {})
    return cloud._replace(nodes=nodes, split=split, views=1 + len(told), failures=failures)


def _cloud(
    run: Run, options: Any, topology: Topology | None, services: Iterable[Service], missing: Mapping[str, str]
) -> Cloud:
    """Return the facts that filters leave in, with what this check remembers: what was there, since when something starts."""
    seen = [service for service in services if _wanted(run, service.of)]
    now = run.clock.time()
    before = run.before if isinstance(run.before, dict) else {}
    present = {service.of for service in seen}
    last = high_water.seen(before.get("seen"), present, now, options.remember)
    began = samples.since(before.get("starting"), (s.of for s in seen if s.state in STARTING), now)
    plan = [wanted for wanted in topology.services if wanted.standby] if topology else []
    standby = frozenset(s.of for s in seen if s.name in options.standby or any(_is(s, wanted) for wanted in plan))
    missing = {of: where for of, where in missing.items() if _wanted(run, of)}
    vanished = {of: now - at for of, at in last.items() if of not in present and of not in missing and _wanted(run, of)}
    return Cloud(
        tuple(seen), {}, standby, missing, vanished, {of: now - at for of, at in began.items()},
        told=bool(topology or options.expect), kept={"seen": last, "starting": began},
    )  # fmt: skip


def _is(service: Service, wanted: euca_topology.Service) -> bool:
    """Return whether a service is the one of the topology: without a name, any of the type on that host."""
    there = service.name == wanted.name if wanted.name else service.host in (wanted.host, wanted.address)
    return service.type == wanted.type and there


def absent(topology: Topology, listed: Iterable[Service]) -> Iterator[tuple[str, str]]:
    """Yield what a topology has and a list has not: its name, and where it should be.

    A service that the topology gives without a name may have any, on the right host.
    """
    named = {(service.type, service.name): service for service in listed}
    placed = {(service.type, service.host) for service in named.values()}
    for wanted in topology.services:
        where = f"in zone {wanted.zone} on host {wanted.host}" if wanted.zone else f"on host {wanted.host}"
        if not wanted.name:
            if (wanted.type, wanted.address) not in placed and (wanted.type, wanted.host) not in placed:
                yield f"{wanted.type} {wanted.address}", where
            continue
        found = named.get((wanted.type, wanted.name))
        if found is None:
            yield f"{wanted.type} {wanted.name}", where
        elif wanted.zone and found.zone != wanted.zone:
            yield f"{wanted.type} {wanted.name}", f"{where}, but is in zone {found.zone}"


def differences(
    seen: Iterable[Service], asked: str, views: Mapping[str, Iterable[Service]]
) -> Iterator[tuple[str, str]]:
    """Yield each service of which hosts do not say the same: its name, and who says what.

    Internal types are left out, each host may have its own word on those. That a service is not listed counts for the
    types that an operator registers.
    """
    seen = list(seen)
    states = {host: {service.of: service.state for service in view} for host, view in views.items()}
    for service in seen:
        if service.type in LOCAL:
            continue
        said = []
        for host, known in states.items():
            state = known.get(service.of)
            if state is None and service.type in REGISTERED:
                said.append(f"not listed by {host}")
            elif state is not None and state != service.state:
                said.append(f"{state} for {host}")
        if said:
            yield service.of, f"{service.state} for {asked}, {', '.join(said)}"
    ours = {service.of for service in seen}
    for host, view in views.items():
        for service in view:
            if service.of not in ours and service.type in REGISTERED:
                yield service.of, f"{service.state} for {host}, not listed by {asked}"


def side_by_side(run: Run, asked: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return what each function returns, or the Failed that it raises, in the order given; some run at a time.

    asked  name of a host -> what asks it. A Failed tells the host in words: filters choose among services, not hosts
    The functions keep to the run's deadline themselves; what is not begun by then is Failed late.
    """
    import threading

    answers: dict[str, Any] = {}
    waiting = list(asked.items())[::-1]

    def work() -> None:
        while waiting:
            try:
                of, function = waiting.pop()
            except IndexError:  # another thread was quicker
                return
            try:
                answers[of] = function()
            except Failed as failed:
                answers[of] = Failed(failed.kind, "", failed.tried, f"{of}: {failed.error}", failed.cure)
            except Exception as error:  # a bug: told by the main thread, which lives on
                answers[of] = error

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(SIDE_BY_SIDE, len(asked)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(run.left() + 0.1)
    late = {of: Failed(LATE, "", "", f"{of}: no answer before the time was up") for of in asked if of not in answers}
    answers = {of: late[of] if of in late else answers[of] for of in asked}
    for answer in answers.values():
        if isinstance(answer, Exception) and not isinstance(answer, Failed):
            raise answer
    return answers


def _views(run: Run, access: Access, hosts: Mapping[str, str], port: int) -> dict[str, Any]:
    """Return host -> the services that it lists without nodes, or a Failed of that host."""
    from nephoscope.probes import euca_api

    def view(name: str, address: str) -> Callable[[], tuple[Service, ...]]:
        there = euca_api.at(access, address, port)
        return lambda: tuple(s for s in describe(run, there, of=name, ListAll="true") if s.type != "node")

    return side_by_side(run, {name: view(name, address) for name, address in hosts.items()})


def _hosts(views: Iterable[str], topology: Topology | None, listed: Iterable[Service], asked: str) -> dict[str, str]:
    """Return the hosts of --views, name -> address: names of the topology, addresses, or "all" that have a JVM.

    The host that was asked already is not asked again.
    """
    known = dict(topology.hosts) if topology else {}
    found: dict[str, str] = {}
    for word in views:
        if word != "all":
            found[word] = known.get(word, word)
        elif topology:
            found.update((s.host, s.address) for s in topology.services if _in_jvm(s.type, topology))
        else:
            found.update((s.host, s.host) for s in listed if s.type == "bootstrap" and s.host)
    first = _host(f"//{asked}")
    return {name: address for name, address in found.items() if first not in (name, address)}


def _in_jvm(kind: str, topology: Topology) -> bool:
    return kind not in euca_topology.OUTSIDE_JVM and (kind != "cluster" or topology.java_cluster)


def _by_heartbeat(run: Run, options: Any, topology: Topology) -> Cloud:
    """Return what the hosts of a topology say of the services that it has there, without any credential."""
    from copy import copy

    from nephoscope.probes import heartbeat

    expected: dict[str, list[euca_topology.Service]] = {}
    blind = 0
    for service in topology.services:
        if not _in_jvm(service.type, topology):
            blind += 1
        elif _wanted(run, f"{service.type} {service.name or service.address}"):
            expected.setdefault(service.host, []).append(service)

    def beat(host: str) -> Callable[[], Any]:
        asked = copy(options)
        asked.hostname = topology.hosts[host]

        return lambda: heartbeat.ask(run, asked)

    answers = side_by_side(run, {host: beat(host) for host in expected})
    seen, missing = [], {}
    for host, services in expected.items():
        if isinstance(answers[host], Failed):
            continue
        for wanted in services:
            part = answers[host].find(wanted.type)
            told = Service(wanted.type, wanted.zone, wanted.name or wanted.address, wanted.address)
            if part is None or not part.local:
                missing[told.of] = f"on host {host}, whose Heartbeat does not have it as registered there"
            else:
                seen.append(told._replace(state=ENABLED if part.enabled else NOT_ENABLED))
    cloud = _cloud(run, options, topology, seen, missing)
    others = f" and {blind} service{'s' * (blind > 1)} outside a JVM" if blind else ""
    unseen = f"nodes{others} are not seen by Heartbeat"
    failures = tuple(answer for answer in answers.values() if isinstance(answer, Failed))
    return cloud._replace(failures=failures, views=len(answers) - len(failures), unseen=unseen, vanished={})


def _wanted(run: Run, of: str) -> bool:
    """Ask the filters for "TYPE NAME"; --exclude may also name a type alone."""
    from fnmatch import fnmatchcase

    if any(fnmatchcase(of.partition(" ")[0], glob) for glob in run.exclude):
        run.left_out.add(of)
        return False
    return run.wants(of)


def _worst(events: Iterable[Element]) -> tuple[str, datetime | None]:
    """Return message and time of the event of the highest severity, of equal ones the last."""
    best: tuple[int, float] = (-1, 0.0)
    message, moment = "", None
    for event in events:
        text = _line(event.findtext("message") or "")
        if text in NO_MESSAGE:
            continue
        severity = (event.findtext("severity") or "").strip()
        at = when((event.findtext("timestamp") or "").strip())
        rank = (SEVERITIES.index(severity) if severity in SEVERITIES else 0, at.timestamp() if at else 0.0)
        if rank >= best:
            best, message, moment = rank, text, at
    return message, moment


def _line(text: str) -> str:
    """Return the first line that says something, bounded."""
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first if len(first) <= MESSAGE else f"{first[: MESSAGE - 1]}…"


def _host(uri: str) -> str:
    from urllib.parse import urlsplit

    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""
