# SPDX-License-Identifier: Apache-2.0
"""The list of services that Axis2/C shows, and the manners of whoever asks a node controller for it."""

from __future__ import annotations

import threading
import time
import urllib.request

import pytest
from nephoscope.base import UNREACHABLE, UNREADABLE, Failed, Run
from nephoscope.plugin import Check, Finding
from nephoscope.probes import axis2
from nephoscope.probes.axis2 import Services

from tests.probes.one_client import OneClient, certificate

CHECK = Check(lambda add: None, lambda options, run: None, lambda facts, options: [Finding(0, "", "")], uses=("http",))


def html(deployed=(), faulty=()):
    """The page as axis2_http_transport_utils_get_services_html of Axis2/C 1.6 puts it together."""
    text = "<h2>Deployed Services</h2>"
    for name in deployed:
        text += f"<h3><u>{name}</u></h3><p>Description of {name}</p><i>Available Operations</i> <ul><li>ncRunInstance</li></ul>"
    if faulty:
        text += '<hr><h2><font color="red">Faulty                 Services</font></h2>'
        text += "".join(f'<h3><font color="red">{name}</font></h3>' for name in faulty)
    if not deployed and not faulty:
        text = "<h2>There are no services deployed</h2>"
    head = '<html><head><title>Axis2C :: Services</title></head><body><font face="courier">'
    return f"{head}{text}</font></body></html>\r\n"


@pytest.mark.parametrize("deployed", [(), ("EucalyptusNC",), ("EucalyptusGL", "EucalyptusNC")])
@pytest.mark.parametrize("faulty", [(), ("EucalyptusNC",), ("EucalyptusGL", "EucalyptusNC")])
def test_what_it_says(deployed, faulty):
    assert axis2.parse(html(deployed, faulty)) == (deployed, faulty)


def test_before_1_6_an_empty_list_has_the_heading_of_a_full_one():
    """There the words "no services deployed" go into a variable that is not printed: the heading alone proves nothing."""
    assert axis2.parse(html(("X",)).replace("<h3><u>X</u></h3>", "")) == ((), ())


@pytest.mark.parametrize(
    "deployed, faulty, lacks",
    [
        (("EucalyptusGL", "EucalyptusNC"), (), ""),
        (("EucalyptusGL",), ("EucalyptusNC",), "is faulty: httpd could not load it"),
        (("EucalyptusNC",), ("EucalyptusNC",), "is faulty: httpd could not load it"),
        (
            ("EucalyptusGL", "EucalyptusNC2"),
            ("X",),
            "is not deployed: there is EucalyptusGL, EucalyptusNC2, X (faulty)",
        ),
        ((), (), "is not deployed: there is no service at all"),
    ],
)
def test_what_a_service_lacks(deployed, faulty, lacks):
    assert Services("h:1", 0.1, deployed, faulty).lacks("EucalyptusNC") == lacks


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "not Axis2/C's list of services: ''"),
        (
            "<html><body>It works! EucalyptusNC Deployed</body></html>",
            "not Axis2/C's list of services: '<html><body>It works!",
        ),
        (html(("EucalyptusNC",))[:200], "the page ends too early: "),
    ],
)
def test_what_is_not_understood(text, said):
    with pytest.raises(Failed) as raised:
        axis2.parse(text, "h:1")
    assert (raised.value.kind, raised.value.of, raised.value.tried) == (UNREADABLE, "h:1", "GET /axis2/services")
    assert said in raised.value.error


@pytest.fixture
def serve():
    made = []

    def start(**words):
        made.append(OneClient("/axis2/services", html(("EucalyptusNC",)), **words))
        return made[-1]

    yield start
    for server in made:
        server.close()


def test_it_says_that_it_will_go_and_goes(serve):
    """The one worker is free again at once: a second client, the cluster controller, does not wait for a keep-alive."""
    server = serve(kept=20)
    found = axis2.ask(Run(8), CHECK.parse(*server.argv), 8775)
    assert found._replace(seconds=0) == Services(server.of, 0, ("EucalyptusNC",), ())
    begun = time.monotonic()
    urllib.request.urlopen(f"http://{server.of}/axis2/services", timeout=10).read()
    assert time.monotonic() - begun < 5, "the worker was held"
    server.close()
    assert [request.split("\r\n")[0] for request in server.requests] == ["GET /axis2/services HTTP/1.1"] * 2
    assert "\r\nConnection: close\r\n" in server.requests[0]
    assert "keep-alive" not in server.requests[0].lower()


def test_the_server_would_hold_a_client_that_stays(serve):
    """That the test above can fail: who asks for keep-alive blocks the next one."""
    import http.client

    server = serve(kept=2)
    staying = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    staying.request("GET", "/axis2/services")
    staying.getresponse().read()
    waited = []

    def next_one():
        begun = time.monotonic()
        urllib.request.urlopen(f"http://{server.of}/axis2/services", timeout=10).read()
        waited.append(time.monotonic() - begun)

    thread = threading.Thread(target=next_one)
    thread.start()
    thread.join(10)
    staying.close()
    assert waited[0] > 1


def test_a_silent_server_is_left_when_the_time_is_up_and_not_asked_again(serve):
    server = serve(fails="hang")
    with pytest.raises(Failed) as raised:
        axis2.ask(Run(1.5), CHECK.parse(*server.argv), 8775)
    assert raised.value.kind == UNREACHABLE
    server.close()
    assert len(server.requests) == 1


def test_plain_and_tls_on_the_same_port(serve, tmp_path):
    cert, context = certificate(tmp_path)
    server = serve(context=context)
    for words in ([], ["--tls", "--ca-file", cert], ["--insecure"]):
        assert axis2.ask(Run(8), CHECK.parse(*server.argv, *words), 8775).deployed == ("EucalyptusNC",)
    server.close()
    assert server.tls == [False, True, True]
