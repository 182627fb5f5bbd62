# SPDX-License-Identifier: Apache-2.0
"""The grammar of a Heartbeat, strictly, and the way in which it is asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from nephoscope.base import NOT_ALLOWED, UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.plugin import Check, Finding
from nephoscope.probes import heartbeat
from nephoscope.probes.heartbeat import Component, Heartbeat

from tests.probes.one_client import OneClient

CHECK = Check(
    lambda add: add("--local", flag=True, help="this host too"),
    lambda options, run: None,
    lambda facts, options: [Finding(0, "", "")],
    uses=("http",),
    modes={"heartbeat": "the page", "port": "a port of this host"},
)


def line(name, enabled=True, local=True, initialized=True):
    """A line as LegacyHBPipeline makes it: String.format("name=%-20.20s enabled=%-10.10s local=%-10.10s initialized=%-10.10s\\n")."""
    words = [str(flag).lower() for flag in (enabled, local, initialized)]
    return "name=%-20.20s enabled=%-10.10s local=%-10.10s initialized=%-10.10s\n" % (name, *words)  # noqa: UP031


BODY = (
    line("storage", False, False)
    + line("eucalyptus")
    + line("proxyclustercontroller", False, False)
    + line("objectstorage", False, True)
    + line("walrusbackend", False, False, False)
)


def test_a_line_is_as_long_as_the_source_makes_it():
    assert len(line("eucalyptus")) == 85


def test_what_it_says():
    assert heartbeat.parse(BODY) == (
        Component("eucalyptus", True, True, True),
        Component("objectstorage", False, True, True),
        Component("proxyclustercontroll", False, False, True),
        Component("storage", False, False, True),
        Component("walrusbackend", False, False, False),
    )


def test_names_are_exact_and_never_substrings():
    """extras/nagios.sh of upstream greps: since 4.0 `storage` finds `objectstorage` too, and `walrus` finds `walrusbackend`."""
    beat = Heartbeat("h:1", 0.1, heartbeat.parse(BODY))
    assert beat.find("storage") == Component("storage", False, False, True)
    assert beat.find("objectstorage") == Component("objectstorage", False, True, True)
    assert beat.find("walrus") is None
    assert beat.find("cluster") is None
    assert beat.find("proxyclustercontroller") == Component("proxyclustercontroll", False, False, True)
    assert [component.name for component in beat.local] == ["eucalyptus", "objectstorage"]


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "an empty answer"),
        ("\n", "not a line of a Heartbeat: ''"),
        (BODY[:-1], "it ends in the middle of a line: 'name=walrusbackend        enabled=false"),
        (BODY[:100], "it ends in the middle of a line"),
        (BODY + BODY, "component storage is listed twice"),
        ("<html><body>It works!</body></html>\n", "not a line of a Heartbeat: '<html><body>It works!"),
        ("<html><body>It works!</body></html>", "not a line of a Heartbeat: '<html><body>It works!"),
        ("<html>\nname=", "not a line of a Heartbeat: '<html>'"),
        (
            BODY.replace("enabled=true ", "enabled=maybe"),
            "not a line of a Heartbeat: 'name=eucalyptus           enabled=ma",
        ),
        (BODY.replace("enabled=true ", "enabled=TRUE "), "not a line of a Heartbeat"),
        (BODY.replace("name=storage ", "name= storage"), "not a line of a Heartbeat"),
        (BODY.replace("name=storage ", "name=a orage "), "not a line of a Heartbeat"),
        (line(""), "not a line of a Heartbeat"),
        (BODY.replace(" \n", "\n"), "not a line of a Heartbeat"),
        (BODY.replace("\n", "x\n"), "not a line of a Heartbeat"),
        (BODY.replace("\n", "\r\n"), "not a line of a Heartbeat"),
        (BODY.replace("local=", "here =="), "not a line of a Heartbeat"),
        (line("eucalyptus").replace("eucalyptus", "eucaly\x00tus"), "not a line of a Heartbeat"),
    ],
)
def test_what_is_not_understood(text, said):
    with pytest.raises(Failed) as raised:
        heartbeat.parse(text, "h:1")
    assert (raised.value.kind, raised.value.of, raised.value.tried) == (UNREADABLE, "h:1", "GET /services/Heartbeat")
    assert said in raised.value.error


@pytest.fixture
def serve():
    made = []

    def start(body=BODY, **words):
        made.append(OneClient("/services/Heartbeat", body, **words))
        return made[-1]

    yield start
    for server in made:
        server.close()


def test_one_request_without_a_query_and_gone(serve):
    server = serve()
    beat = heartbeat.ask(Run(3), CHECK.parse(*server.argv))
    assert (beat.of, len(beat.components), beat.seconds > 0) == (server.of, 5, True)
    server.close()
    assert len(server.requests) == 1
    assert server.requests[0].startswith("GET /services/Heartbeat HTTP/1.1\r\n")  # a query string would give 404
    assert "\r\nConnection: close\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "fails, kind, said",
    [
        (404, UNREADABLE, "HTTP 404"),
        (405, UNREADABLE, "HTTP 405"),
        (302, UNREADABLE, "HTTP 302"),
        (307, UNREADABLE, "HTTP 307, to https://login.example/in"),
        (401, NOT_ALLOWED, "HTTP 401"),
        (403, NOT_ALLOWED, "HTTP 403"),
        (500, UNREACHABLE, "HTTP 500"),
        (503, UNREACHABLE, "HTTP 503"),
        ("half", UNREACHABLE, "the connection was cut before the answer was whole"),
        ("cut", UNREACHABLE, "the connection was cut before the answer was whole"),
        ("garbage", UNREADABLE, "no HTTP: BadStatusLine"),
        ("flood", UNREADABLE, "more than 1 MiB"),
    ],
)
def test_what_the_server_may_do_instead(serve, fails, kind, said):
    server = serve(fails=fails)
    with pytest.raises(Failed) as raised:
        heartbeat.ask(Run(3), CHECK.parse(*server.argv))
    assert raised.value == Failed(kind, server.of, "GET /services/Heartbeat", said)


def options(*argv):
    return CHECK.parse(*argv)


def test_whether_this_host_is_looked_at():
    assert heartbeat.here(options())
    assert heartbeat.here(options("--local"))
    assert heartbeat.here(options("-H", "clc.example", "--local"))
    assert not heartbeat.here(options("-H", "clc.example"))


def test_a_mode_of_this_host_asked_for_from_afar():
    local = ("port",)
    assert heartbeat.unseen(options("-H", "clc.example"), local) == ""
    assert heartbeat.unseen(options("--mode", "port"), local) == ""
    assert heartbeat.unseen(options("-H", "clc.example", "--mode", "heartbeat"), local) == ""
    assert heartbeat.unseen(options("-H", "clc.example", "--local", "--mode", "port"), local) == ""
    assert heartbeat.unseen(options("-H", "clc.example", "--mode", "port"), local) == (
        "mode port looks at the host that the check runs on, not at clc.example:"
        " run it there, by NRPE or an agent, without -H or with --local"
    )
    assert heartbeat.here(SimpleNamespace(local=None, hostname="")) is True
