# SPDX-License-Identifier: Apache-2.0
"""Documents and headers that all services of the cloud share."""

from __future__ import annotations

import time
import uuid
from email.utils import formatdate
from http import HTTPStatus
from xml.sax.saxutils import escape

from nephoscope.demo.model import Answer

__all__ = ["date", "escape", "fault", "java_date", "not_found", "operation_fault", "phrase", "request_id", "xml"]

PLAIN = "text/plain; charset=UTF-8"
XML = "application/xml; charset=UTF-8"


class Refused(Exception):
    """A request that is not let in: status, the server's words, and the code that S3 has for it."""

    def __init__(self, status: int, message: str, code: str = "AccessDenied") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


def phrase(status: int) -> str:
    """Return "403 Forbidden" for 403."""
    return f"{status} {HTTPStatus(status).phrase}"


def _rest_fault(code: str, message: str, detail: str) -> bytes:
    # Binding.createRestFault: only < and > are escaped, & is not, so this may be ill-formed. One line, no namespace.
    parts = [part.replace("<", "&lt;").replace(">", "&gt;") for part in (code, message, detail)]
    return (
        f'<?xml version="1.0"?><Response><Errors><Error><Code>{parts[0]}</Code><Message>{parts[1]}</Message></Error></Errors>'
        f"<RequestID>{parts[2]}</RequestID></Response>"
    ).encode()


def fault(status: int, message: str) -> Answer:
    """Return the error of a request that never reached a service (MSGS/ws/server/NioServerHandler.java, sendError)."""
    return Answer(status, {"Content-Type": PLAIN, "Connection": "close"}, _rest_fault(phrase(status), message, message))


def not_found() -> Answer:
    """Return what is answered when no pipeline takes the request: NoAcceptingPipelineException has no message."""
    return fault(404, "unknown")


def operation_fault(kind: str, message: str, status: int = 400, detail: str = "") -> Answer:
    """Return the error of an operation: `kind` is the request's type ("DescribeServicesType")."""
    return Answer(status, {"Content-Type": XML}, _rest_fault(kind, message, detail or message))


def xml(text: str, status: int = 200) -> Answer:
    """Return a document of a service. There is no XML declaration (UNCONFIRMED)."""
    return Answer(status, {"Content-Type": XML}, text.encode())


def request_id() -> str:
    """Return a fresh correlation id."""
    return str(uuid.uuid4())


def date(moment: float) -> str:
    """Return a Date header."""
    return formatdate(moment, usegmt=True)


def java_date(moment: float) -> str:
    """Return java.util.Date.toString() of a server in UTC: "Tue Jun 28 07:00:17 UTC 2016"."""
    return time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(moment))
