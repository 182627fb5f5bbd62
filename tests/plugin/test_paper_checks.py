# SPDX-License-Identifier: Apache-2.0
"""Three checks that do not exist yet, written against the frame to see whether its shape holds.

An array with profiles and modes; OpenStack agents, with findings for each agent, a minimum for each binary and a service that
may not be read; a database with rates. Where the shape broke, the frame was bettered: `History.share`, and the target's own
clock in `samples.take`, came from here, and the rule that what is well is yielded too: a filter that names it must find it.
"""

from typing import Any, NamedTuple, Union

from nephoscope.base import ABSENT, NOT_ALLOWED, Clock, Failed, samples
from nephoscope.plugin import (
    CRITICAL,
    OK,
    UNKNOWN,
    WARNING,
    Check,
    Finding,
    Grant,
    Metric,
    Preset,
    Threshold,
    count,
    expect,
)

# --- an array -----------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    name: str
    word: str  # one of the suite's words


class Pool(NamedTuple):
    name: str
    used_percent: float


class Array(NamedTuple):
    disks: Union[list[Part], Failed, None] = None
    pools: Union[list[Pool], Failed, None] = None
    events: Union[list[str], Failed, None] = None


WORDS = {"ok": OK, "spare": OK, "rebuilding": WARNING, "degraded": WARNING, "failed": CRITICAL, "absent": CRITICAL}


def array_options(add):
    add("--profile", choices=("netapp", "equallogic"), required=True, help="make of the array")
    add("--spares", type=count, default=1, looks=False, help="spare disks that must stand ready")
    add("--password", secret=True, help="password of the account")


def array_judge(array, options):
    for mode, parts in (("disks", array.disks), ("events", array.events)):
        if isinstance(parts, Failed):
            # What a make does not have is no news, unless it was asked for by name.
            if parts.kind == ABSENT and not options.mode_given:
                yield Finding(OK, mode, "not told by this make")
            else:
                yield parts
    for disk in array.disks if isinstance(array.disks, list) else ():
        if disk.word not in WORDS:
            yield Finding(UNKNOWN, disk.name, f"is in the unknown state '{disk.word}'")
        elif WORDS[disk.word] != OK:
            yield Finding(WORDS[disk.word], disk.name, f"is {disk.word}")
    if isinstance(array.disks, list):
        yield Metric("disks", len(array.disks))
        spares = sum(disk.word == "spare" for disk in array.disks)
        if spares < options.spares:
            yield Finding(WARNING, "", f"{spares} spare disks, {options.spares} wanted")
    for pool in array.pools or ():
        yield Metric("used", pool.used_percent, of=pool.name)


def array(facts):
    return Check(
        array_options,
        lambda options, run: facts,
        array_judge,
        where=("remote",),
        uses=("https",),
        modes={"disks": "are the disks well?", "pools": "is there space?", "events": "what does its log say?"},
        presets={"thin": Preset("overcommitted pools", limits={"used": ("70", "80")})},
        thresholds=[Threshold("disks", mode="disks"), Threshold("used", "%", "80", "90", mode="pools", main=True)],
    )


def test_array():
    well = Array(
        [Part("d1", "ok"), Part("d2", "spare")], [Pool("p1", 75)], Failed(ABSENT, "events", "", "no such table")
    )
    argv = ["--profile", "netapp", "-H", "array1"]
    assert array(well).run(argv).line == (
        "TEST_PAPER_CHECKS OK - disks 2, events not told by this make, p1 used 75 % | disks=2 p1_used=75%;80;90"
    )
    assert array(well).run([*argv, "--preset", "thin"]).reason == "p1 used 75 % is above 70 %"
    assert array(well).run([*argv, "--mode", "events"]).state == UNKNOWN
    ill = Array([Part("d1", "ok"), Part("d2", "failed"), Part("d3", "blinking")], [Pool("p1", 95)])
    outcome = array(ill).run(argv)
    assert outcome.reason == (
        "d2 is failed, p1 used 95 % is above 90 %, WARNING: 0 spare disks, 1 wanted, UNKNOWN: d3 is in the unknown state 'blinking'"
    )
    assert "option --profile is required" in array(well).run([]).line
    assert "'used' is a limit of mode pools" in array(well).run([*argv, "--mode", "disks", "-w", "used=5"]).line


# --- the agents of a cloud ------------------------------------------------------------------------------------------------


class Agent(NamedTuple):
    binary: str
    host: str
    alive: bool
    enabled: bool
    reason: str = ""


class Agents(NamedTuple):
    services: dict[str, Union[list[Agent], Failed]]  # compute, network, volume


def agents_options(add):
    add("--expect", repeat=True, type=expect, metavar="BINARY[=N]", help="binary that must be up, and how often")


def agents_judge(agents, options):
    up: dict[str, int] = {}
    for service in agents.services.values():
        if isinstance(service, Failed):
            yield service
            continue
        for agent in service:
            up[agent.binary] = up.get(agent.binary, 0) + (agent.alive and agent.enabled)
            if not agent.alive:
                yield Finding(CRITICAL if agent.enabled else WARNING, f"{agent.binary} on {agent.host}", "is down")
            elif not agent.enabled:
                yield Finding(OK, f"{agent.binary} on {agent.host}", f"is disabled: {agent.reason}")
            else:
                yield Finding(
                    OK, f"{agent.binary} on {agent.host}", "is up"
                )  # what is well is told too: a filter must find it
    unread = any(isinstance(service, Failed) for service in agents.services.values())
    for binary, least in options.expect:
        if up.get(binary, 0) < least and not (binary not in up and unread):
            yield Finding(CRITICAL, binary, f"{up.get(binary, 0)} up, {least} expected")
    for binary, number in sorted(up.items()):
        yield Metric("up", number, of=binary)


def agents(**services):
    return Check(
        agents_options,
        lambda options, run: Agents(services),
        agents_judge,
        where=("remote",),
        needs=[Grant("the role reader with scope system")],
        thresholds=[Threshold("up")],
    )


def test_agents():
    compute = [Agent("nova-compute", f"c{n}", True, True) for n in range(3)]
    outcome = agents(compute=compute).run(["--expect", "nova-compute=3"])
    assert (outcome.state, outcome.perfdata) == (OK, ["nova-compute_up=3"])
    compute[1] = compute[1]._replace(alive=False)
    compute[2] = compute[2]._replace(enabled=False, reason="new disk")
    outcome = agents(compute=compute).run(["--expect", "nova-compute=3", "--expect", "neutron-dhcp-agent"])
    assert outcome.reason == (
        "neutron-dhcp-agent 0 up, 1 expected, nova-compute 1 up, 3 expected, nova-compute on c1 is down"
    )
    forbidden = Failed(NOT_ALLOWED, "network", "GET /v2.0/agents", "HTTP 403")
    outcome = agents(compute=compute[:1], network=forbidden).run(
        ["--expect", "nova-compute", "--expect", "neutron-dhcp-agent"]
    )
    assert (outcome.state, outcome.reason) == (
        UNKNOWN,
        "network: HTTP 403 (GET /v2.0/agents): needs the role reader with scope system",
    )
    assert agents().run().reason == "nothing was looked at"
    assert agents(compute=compute).run(["--include", "nova-compute on c0"]).state == OK


# --- a database with rates ---------------------------------------------------------------------------------------------------


class Status(NamedTuple):
    history: samples.History
    connections: float
    limit: float


def database(uptime: float, **counters: Any) -> Check:
    def probe(options, run):
        return Status(samples.take(run, counters, at=uptime, boot="server-uuid"), 40, 100)

    def judge(status, options):
        yield Metric("connections", 100 * status.connections / status.limit)
        yield Metric("slow_queries_rate", status.history.rate("slow"))
        yield Metric("aborted", status.history.share("aborted", "connects"))

    return Check(
        lambda add: None,
        probe,
        judge,
        where=("node", "remote"),
        uses=("target",),
        keep=lambda status: status.history.keep(),
        thresholds=[
            Threshold("connections", "%", "80", "90", main=True),
            Threshold("aborted", "%", "5", "20"),
            Threshold("slow_queries_rate", "", "1", "10"),
        ],
    )


def test_database(tmp_path):
    argv = ["-H", "db1", "--state-dir", str(tmp_path / "s")]
    outcome = database(1000, slow=0, aborted=0, connects=0).run(argv)
    assert outcome.line == "TEST_PAPER_CHECKS OK - connections 40 %, rates collecting | connections=40%;80;90"
    outcome = database(1300, slow=600, aborted=10, connects=100).run(argv)
    assert outcome.reason == "slow queries 2/s is above 1/s, aborted 10 % is above 5 %"
    assert outcome.perfdata == ["connections=40%;80;90", "aborted=10%;5;20", "slow_queries_rate=2;1;10"]
    outcome = database(1600, slow=5, aborted=0, connects=1).run(
        argv, clock=Clock(300)
    )  # flushed: no number from nothing
    assert outcome.reason == "connections 40 %, rates collecting"
    other = database(1300, slow=9, aborted=0, connects=1).run(["-H", "db2", "--state-dir", str(tmp_path / "s")])
    assert other.reason == "connections 40 %, rates collecting"
