# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import datetime, timezone
from xml.etree import ElementTree

import pytest
from nephoscope.base import LATE, UNREADABLE, Failed, Run
from nephoscope.probes import euca_api
from nephoscope.probes.euca_services import (
    NOT_ENABLED,
    Cloud,
    Service,
    absent,
    differences,
    parse,
    side_by_side,
    standing,
    when,
)
from nephoscope.probes.euca_topology import parse as topology

# The answers of facts: EmpyreanMessages.groovy in declaration order; prefix and name space as each version writes them.
ITEM = """
    <{p}item>
      <{p}serviceId>
        <{p}partition>one</{p}partition>
        <{p}name>one-sc-1</{p}name>
        <{p}type>storage</{p}type>
        <{p}fullName>arn:euca:eucalyptus:one:storage:one-sc-1/</{p}fullName>
        <{p}uris><{p}item><{p}entry>http://192.0.2.7:8773/services/Storage</{p}entry></{p}item></{p}uris>
        <{p}uri>http://192.0.2.7:8773/services/Storage</{p}uri>
        {host}
      </{p}serviceId>
      <{p}localState>{state}</{p}localState>
      <{p}localEpoch>31</{p}localEpoch>
      {events}
    </{p}item>"""
EVENT = """
        <{p}item>
          <{p}severity>{severity}</{p}severity>
          <{p}uuid>3c7b6a52-7f0c-4b6e-8f0a-2f3e0a6f9a10</{p}uuid>
          <{p}message>{message}</{p}message>
          <{p}stackTrace></{p}stackTrace>
          <{p}timestamp>{time}</{p}timestamp>
        </{p}item>"""
ANSWER = """<{p}DescribeServicesResponseType xmlns{c}="{space}">
  <{p}EmpyreanMessage><{p}correlationId>6f6f1a3e</{p}correlationId><{p}_return>true</{p}_return></{p}EmpyreanMessage>
  {list}
</{p}DescribeServicesResponseType>"""
STYLES = {
    "3.1": ("euca:", "http://msgs.eucalyptus.com"),
    "4.4": ("euca:", "http://msgs.eucalyptus.com/4.4.2"),
    "5.1": ("", "http://www.eucalyptus.com/ns/bootstrap/2017-05-04/"),
}


def event(prefix, severity, message, time="Tue Jun 28 07:00:17 UTC 2016"):
    return EVENT.format(p=prefix, severity=severity, message=message, time=time)


def answer(style, state="ENABLED", events=None, host=True, content=None):
    """`events`: None leaves the list out, [] gives an empty element."""
    p, space = STYLES[style]
    listed = "" if events is None else f"<{p}statusDetails/>"
    if events:
        listed = f"<{p}statusDetails>{''.join(event(p, *words) for words in events)}</{p}statusDetails>"
    place = f"<{p}host>192.0.2.7</{p}host>" if host else ""
    items = ITEM.format(p=p, state=state, events=listed, host=place)
    content = f"<{p}serviceStatuses>{items}</{p}serviceStatuses>" if content is None else content.format(p=p)
    return ANSWER.format(p=p, c=":euca" if p else "", space=space, list=content).encode()


def read(body):
    return list(parse(euca_api.parsed(body, "x", "DescribeServices", "DescribeServicesResponse")))


SC = Service("storage", "one", "one-sc-1", "192.0.2.7", "http://192.0.2.7:8773/services/Storage", "ENABLED")


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("events", [None, []])
@pytest.mark.parametrize("host", [True, False])
def test_with_prefix_and_without_with_empty_lists_and_without(style, events, host):
    assert read(answer(style, events=events, host=host)) == [SC]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("content", ["", "<{p}serviceStatuses/>", "<{p}serviceStatuses></{p}serviceStatuses>"])
def test_an_empty_list_absent_or_empty(style, content):
    assert read(answer(style, content=content)) == []


@pytest.mark.parametrize("style", STYLES)
def test_the_worst_event_and_of_equal_ones_the_last(style):
    (service,) = read(
        answer(
            style,
            "BROKEN",
            [
                ("INFO", "the node is operating normally\nFound service status", "Tue Jun 28 08:00:17 UTC 2016"),
                ("ERROR", "second", "Tue Jun 28 07:30:17 UTC 2016"),
                ("FATAL", "UNSET", "Tue Jun 28 07:30:17 UTC 2016"),
                ("ERROR", "first", "Tue Jun 28 07:00:17 UTC 2016"),
                ("URGENT", "No summary information available."),
                ("WORSE", "a severity that nobody knows"),
            ],
        )
    )
    at = datetime(2016, 6, 28, 7, 30, 17, tzinfo=timezone.utc)
    assert (service.state, service.message, service.at) == ("BROKEN", "second", at)


def test_a_message_is_one_bounded_line():
    (service,) = read(answer("4.4", "NOTREADY", [("ERROR", "\n  first " + "x" * 500 + "\nsecond")]))
    assert service.message == "first " + "x" * 193 + "…"


@pytest.mark.parametrize("state", ["n/a: java.lang.NullPointerException", "WEIRD", "", "enabled"])
def test_every_word_is_kept(state):
    assert read(answer("4.4", state))[0].state == state


def test_an_entry_without_a_name_is_not_believed():
    body = answer("4.4").replace(b"<euca:name>one-sc-1</euca:name>", b"")
    with pytest.raises(Failed) as caught:
        read(body)
    assert caught.value.args[0] == UNREADABLE


def test_an_uri_none_is_none():
    body = answer("3.1", host=False).replace(b"http://192.0.2.7:8773/services/Storage</euca:uri>", b"none</euca:uri>")
    assert (read(body)[0].uri, read(body)[0].host) == ("", "")


def test_bytes_of_the_real_document_are_read_by_a_second_parser_alike():
    """The fixture itself is well-formed and in the name space that it claims."""
    for style, (_, space) in STYLES.items():
        assert ElementTree.fromstring(answer(style)).tag == f"{{{space}}}DescribeServicesResponseType"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Sun Nov 18 22:11:13 PST 2012", datetime(2012, 11, 19, 6, 11, 13, tzinfo=timezone.utc)),
        ("Tue Jun 28 07:00:17 UTC 2016", datetime(2016, 6, 28, 7, 0, 17, tzinfo=timezone.utc)),
        ("Tue Jun 28 07:00:17 IST 2016", None),  # India, Israel or Ireland
        ("2016-06-28T07:00:17Z", None),
        ("Tue Jux 28 07:00:17 UTC 2016", None),
        ("Tue Jun 31 07:00:17 UTC 2016", None),
        ("", None),
    ],
)
def test_the_time_that_java_writes(text, time):
    assert when(text) == time


UFS = Service("compute", "API_1", "API_1.compute", state="NOTREADY")
OSG = Service("objectstorage", "API_1", "API_1.objectstorage", state="DISABLED")
OTHER = ("one-sc-2",)
SERVES_ALONE = "redundancy lost, one-sc-2 serves alone"


def sc(state, message=""):
    return SC._replace(state=state, message=message)


@pytest.mark.parametrize(
    ("service", "others", "standby", "word", "text"),
    [
        # ENABLED
        (sc("ENABLED"), (), False, "serves", "is ENABLED"),
        (sc("ENABLED"), (), True, "serves", "is ENABLED"),
        (sc("ENABLED"), OTHER, False, "split", "is ENABLED, and so is one-sc-2: only one of a pair may serve"),
        (UFS._replace(state="ENABLED"), ("API_2.compute",), False, "serves", "is ENABLED"),
        # DISABLED
        (sc("DISABLED"), OTHER, False, "standby", "is DISABLED, standing by for one-sc-2"),
        (sc("DISABLED"), OTHER, True, "standby", "is DISABLED, standing by for one-sc-2"),
        (sc("DISABLED"), (), False, "unserved", "is DISABLED, nobody serves zone one"),
        (sc("DISABLED"), (), True, "unserved", "is DISABLED, nobody serves zone one"),
        (UFS._replace(state="DISABLED"), ("API_2.compute",), False, "standby", "is DISABLED, standing by for API_2.compute"),
        (OSG, (), False, "unserved", "is DISABLED, nobody else serves"),
        (OSG, ("API_2.objectstorage",), False, "lessened", "is DISABLED, others serve"),
        (OSG, ("API_2.objectstorage",), True, "standby", "is DISABLED, standing by for API_2.objectstorage"),
        # STOPPED
        (sc("STOPPED"), (), False, "unserved", "is STOPPED, nobody serves zone one"),
        (sc("STOPPED"), OTHER, False, "lessened", f"is STOPPED: {SERVES_ALONE}"),
        (UFS._replace(state="STOPPED"), ("API_2.compute",), False, "lessened", "is STOPPED, others serve"),
        # down
        (sc("NOTREADY"), (), False, "unserved", "is NOTREADY, nobody serves zone one"),
        (sc("BROKEN", "no manager"), (), False, "unserved", "is BROKEN, nobody serves zone one: no manager"),
        (sc("BUGGY"), (), False, "unserved", "is BUGGY, nobody serves zone one"),
        (sc("n/a: a.b.C: x"), (), False, "unserved", "is n/a: a.b.C: x, nobody serves zone one"),
        (sc(NOT_ENABLED), (), False, "unserved", "is not enabled, nobody serves zone one"),
        (sc(NOT_ENABLED), OTHER, True, "standby", "is not enabled, as it should be while one-sc-2 serves"),
        (sc(NOT_ENABLED), OTHER, False, "lessened", f"is not enabled: {SERVES_ALONE}"),
        (sc(NOT_ENABLED), (), True, "unserved", "is not enabled, nobody serves zone one"),
        (sc("NOTREADY"), OTHER, True, "lessened", f"is NOTREADY: {SERVES_ALONE}"),
        (sc("BROKEN", "why"), OTHER, False, "lessened", f"is BROKEN: {SERVES_ALONE}: why"),
        (UFS, (), False, "unserved", "is NOTREADY, nobody else serves"),
        (UFS, ("API_2.compute",), False, "lessened", "is NOTREADY, others serve"),
        (UFS._replace(state="n/a: x"), ("API_2.compute",), False, "lessened", "is n/a: x, others serve"),
        # on its way up
        (sc("LOADED"), (), False, "starting", "is LOADED, nobody serves zone one"),
        (sc("INITIALIZED"), OTHER, False, "starting", f"is INITIALIZED: {SERVES_ALONE}"),
        (UFS._replace(state="PRIMORDIAL"), (), False, "starting", "is PRIMORDIAL, nobody else serves"),
        # workers
        (Service("imagingbackend", "", "a", state="NOTREADY"), (), False, "worker", "is NOTREADY, as it is without a worker image"),
        (Service("loadbalancingbackend", "", "a", state="NOTREADY"), (), False, "worker", "is NOTREADY, as it is without a worker image"),
        (Service("imagingbackend", "", "a", state="BROKEN"), (), False, "unserved", "is BROKEN, nobody else serves"),
        # not understood, never OK
        (sc("RUNNING"), OTHER, True, "unknown", "is in a state that is not understood: 'RUNNING'"),
        (sc("MISSING"), (), False, "unknown", "is in a state that is not understood: 'MISSING'"),
        (sc("enabled"), (), False, "unknown", "is in a state that is not understood: 'enabled'"),
        (sc(""), (), False, "unknown", "is in a state that is not understood: ''"),
    ],
)  # fmt: skip
def test_how_a_service_stands(service, others, standby, word, text):
    assert standing(service, others, standby) == (word, text)


def test_user_services_are_grouped_by_type_zone_services_by_zone():
    """The partition of a user service is its UFS: one ENABLED of each UFS is no split, and one down is not unserved."""
    services = (
        Service("compute", "API_1", "API_1.compute", state="ENABLED"),
        Service("compute", "API_2", "API_2.compute", state="NOTREADY"),
        Service("cluster", "one", "one-cc", state="ENABLED"),
        Service("cluster", "two", "two-cc", state="NOTREADY"),
    )
    cloud = Cloud(services)
    assert cloud.serving() == {"cluster_one": ("one-cc",), "cluster_two": (), "compute": ("API_1.compute",)}
    assert [(of, word) for of, word, _ in cloud.standings()] == [
        ("compute API_1.compute", "serves"),
        ("compute API_2.compute", "lessened"),
        ("cluster one-cc", "serves"),
        ("cluster two-cc", "unserved"),
    ]
    assert cloud.count("notready") == 2


def test_how_many_should_be_enabled():
    services = (SC, sc("NOTREADY")._replace(zone="two"), UFS)
    cloud = Cloud(services, {"one": (3, 4), "two": (1, 1)})
    assert cloud.numbers == {"compute": 0, "storage_one": 1, "storage_two": 0, "node_one": 3, "node_two": 1}
    wanted = [("storage", 1), ("storage_one", 2), ("storage_two", 0), ("node", 4), ("node_one", 4), ("stor", 1)]
    assert list(cloud.met(wanted)) == [
        ("storage", "serves", "has 1 ENABLED, 1 expected"),
        ("storage_one", "unserved", "has 1 ENABLED, 2 expected"),
        ("storage_two", "serves", "has 0 ENABLED, 0 expected"),
        ("node", "serves", "has 4 ENABLED, 4 expected"),
        ("node_one", "unserved", "has 3 ENABLED, 4 expected"),
        ("stor", "unserved", "has 0 ENABLED, 1 expected"),
    ]
    beaten = Cloud(services[:1], unseen="nodes are not seen by Heartbeat")
    assert list(beaten.met([("storage", 2), ("node", 1)])) == [
        ("storage", "unserved", "has 1 ENABLED, 2 expected"),
        ("node", "unknown", "is not seen by Heartbeat"),
    ]


TOPOLOGY = topology(
    """
[zones.one]
[hosts.clc]
address = "192.0.2.1"
services = ["eucalyptus", "user-api:API_1"]
[hosts.one-sc]
address = "192.0.2.7"
zone = "one"
services = ["storage:one-sc-1", "dns"]
"""
)
CLC = Service("eucalyptus", "eucalyptus", "192.0.2.1", "192.0.2.1", state="ENABLED")
API = Service("user-api", "API_1", "API_1", "192.0.2.1", state="ENABLED")
DNS = Service("dns", "eucalyptus", "192.0.2.7", "192.0.2.7", state="ENABLED")


def test_nothing_is_missing():
    assert list(absent(TOPOLOGY, [CLC, API, DNS, SC])) == []


@pytest.mark.parametrize(
    ("listed", "of", "where"),
    [
        ([API, DNS, SC], "eucalyptus 192.0.2.1", "on host clc"),
        ([CLC, DNS, SC], "user-api API_1", "on host clc"),
        ([CLC, API, SC, DNS._replace(host="192.0.2.1")], "dns 192.0.2.7", "on host one-sc"),
        ([CLC, API, DNS], "storage one-sc-1", "in zone one on host one-sc"),
        # Regression: `storage` is a part of `objectstorage`, `walrus` of `walrusbackend` (extras/nagios.sh).
        ([CLC, API, DNS, SC._replace(type="objectstorage")], "storage one-sc-1", "in zone one on host one-sc"),
        (
            [CLC, API, DNS, SC._replace(zone="two")],
            "storage one-sc-1",
            "in zone one on host one-sc, but is in zone two",
        ),
    ],
)
def test_what_is_missing(listed, of, where):
    assert list(absent(TOPOLOGY, listed)) == [(of, where)]


def test_views_are_compared_by_service_and_host():
    boot = Service("bootstrap", "", "192.0.2.1", state="ENABLED")
    inner = Service("jetty", "", "192.0.2.1", state="ENABLED")
    member = Service("compute", "API_1", "API_1.compute", state="ENABLED")
    seen = [CLC, SC, boot, inner, member]
    assert list(differences(seen, "a:1", {})) == []
    assert list(differences(seen, "a:1", {"b": seen, "c": list(seen)})) == []
    # internal types may differ, and members that an operator did not register need not be known elsewhere
    other = [CLC, sc("NOTREADY"), boot._replace(state="LOADED"), inner._replace(state="NOTREADY")]
    assert list(differences(seen, "a:1", {"b": other, "c": [CLC]})) == [
        ("storage one-sc-1", "ENABLED for a:1, NOTREADY for b, not listed by c")
    ]
    assert list(differences([CLC], "a:1", {"b": [CLC, SC]})) == [
        ("storage one-sc-1", "ENABLED for b, not listed by a:1")
    ]
    assert list(differences([member], "a:1", {"b": [member._replace(state="NOTREADY")]})) == [
        ("compute API_1.compute", "ENABLED for a:1, NOTREADY for b")
    ]


def test_side_by_side_keeps_order_failures_and_bugs():
    def refuse():
        raise Failed(UNREADABLE, "", "Ask", "no", "mend it")

    asked = {"c": lambda: 1, "b": refuse, **{f"x{number}": (lambda: 2) for number in range(9)}}
    answers = side_by_side(Run(), asked)
    assert list(answers) == list(asked)
    assert (answers["c"], answers["x8"]) == (1, 2)
    assert answers["b"] == Failed(UNREADABLE, "", "Ask", "b: no", "mend it")
    assert side_by_side(Run(), {}) == {}
    assert side_by_side(Run(), {"a": lambda: ()}) == {"a": ()}, "a host that lists nothing did answer"
    with pytest.raises(ZeroDivisionError):
        side_by_side(Run(), {"a": lambda: 1 / 0})


def test_side_by_side_does_not_outlive_the_run():
    import threading

    never = threading.Event()
    answers = side_by_side(Run(0.2), {"a": lambda: never.wait(30)})
    never.set()
    assert answers == {"a": Failed(LATE, "", "", "a: no answer before the time was up")}
