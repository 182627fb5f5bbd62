# SPDX-License-Identifier: Apache-2.0
"""The page on which Axis2/C lists its services: whether httpd has loaded the module of a cluster or node controller.

Source: axis2_http_transport_utils_get_services_html of Axis2/C 1.6 (src/core/transport/http/util/http_transport_utils.c). A
deployed service stands as `<h3><u>NAME</u></h3>` below "Deployed Services"; one whose library could not be loaded as
`<h3><font color="red">NAME</font></h3>` below "Faulty Services". Without any the heading is "There are no services deployed",
or, before 1.6, "Deployed Services" with nothing below it.

The httpd of a node controller serves one client at a time and would keep its connection for 30 s (MaxClients 1,
KeepAliveTimeout 30 in tools/httpd.conf), locking out its own cluster controller: so this asks once, with `Connection: close`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import page

PATH = "/axis2/services"
TITLE = "<title>Axis2C :: Services</title>"
END = "</body></html>"


class Services(NamedTuple):
    """What one httpd has loaded.

    of        "host:port" that was asked
    seconds   until the whole page was there
    deployed  names of the services that it serves
    faulty    names of those that it could not load
    """

    of: str
    seconds: float
    deployed: tuple[str, ...]
    faulty: tuple[str, ...]

    def lacks(self, name: str) -> str:
        """Return what is wrong with the service of exactly this name, in words that follow it; "" for nothing."""
        if name in self.faulty:
            return "is faulty: httpd could not load it"
        found = ", ".join((*self.deployed, *(f"{one} (faulty)" for one in self.faulty)))
        return "" if name in self.deployed else f"is not deployed: there is {found or 'no service at all'}"


def ask(run: Run, options: Any, port: int) -> Services:
    """Ask the httpd that the options of the group "http" name, at this port where -p does not say otherwise.

    Raises Failed as `page.get` does, and unreadable for what is not this page.
    """
    answer = page.get(run, options, PATH, port)
    deployed, faulty = parse(answer.text, answer.of)
    return Services(answer.of, answer.seconds, deployed, faulty)


def parse(text: str, of: str = "") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of the deployed and of the faulty services. Raises Failed (unreadable)."""
    import re

    if TITLE not in text:
        raise Failed(UNREADABLE, of, f"GET {PATH}", f"not Axis2/C's list of services: {text[:60]!r}")
    if END not in text:
        raise Failed(UNREADABLE, of, f"GET {PATH}", f"the page ends too early: {text[-30:]!r}")
    # Between "Faulty" and "Services" stands an indentation: the string is continued on a second line of C.
    well, *rest = re.split(r"<h2><font[^>]*>Faulty\s+Services", text, maxsplit=1)
    deployed = re.findall(r"<h3><u>([^<]+)</u></h3>", well)
    faulty = re.findall(r"<h3><font[^>]*>([^<]+)</font></h3>", rest[0]) if rest else []
    return tuple(sorted(deployed)), tuple(sorted(faulty))
