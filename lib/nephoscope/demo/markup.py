# SPDX-License-Identifier: Apache-2.0
"""XML as the AWS-style services of Eucalyptus write it: elements from nested pairs, dates, errors.

Sources: the JiBX bindings of github eucalyptus/eucalyptus 4.4.2 (compute-common/src/main/resources/ec2-*.xml,
euare-binding.xml) and ErrorHandlerSupport.java. UNCONFIRMED against a live cloud: whether an XML declaration is sent
(here: none) and how an empty list looks (here: an empty element).
"""

from __future__ import annotations

import time
import uuid
from typing import Any
from xml.sax.saxutils import escape

from nephoscope.demo.model import Answer

XML = {"Content-Type": "application/xml; charset=UTF-8"}


def element(name: str, content: Any, attributes: str = "") -> str:
    """Return one element. `content` is text, a number, a truth value, pairs (name, content), or None for no element at all.

    A list of pairs may hold the same name several times: `[("item", …), ("item", …)]` is a list as EC2 has it.
    """
    if content is None:
        return ""
    opening = f"{name} {attributes}" if attributes else name
    inside = "".join(element(*pair) for pair in content) if isinstance(content, (list, tuple)) else text(content)
    return f"<{opening}>{inside}</{name}>" if inside else f"<{opening}/>"


def text(value: Any) -> str:
    """Return a value as the text of an element."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))


def items(contents: Any, name: str = "item") -> list[tuple[str, Any]]:
    """Return the contents as a list of elements of one name."""
    return [(name, content) for content in contents]


def date(moment: float) -> str:
    """Return Unix time as XML dates are written, in UTC, with milliseconds."""
    whole = int(moment // 1)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{int((moment - whole) * 1000):03d}Z"


def request_id() -> str:
    """Return a fresh correlation id."""
    return str(uuid.uuid4())


def document(name: str, content: Any, namespace: str, status: int = 200) -> Answer:
    """Return an answer that is one XML document in one namespace."""
    return Answer(status, XML, element(name, content, f'xmlns="{namespace}"').encode())


def iam_error(namespace: str, status: int, code: str, message: str) -> Answer:
    """Return an error as IAM, STS, CloudWatch and auto scaling word it."""
    fault = [("Type", "Receiver" if status >= 500 else "Sender"), ("Code", code), ("Message", message), ("Detail", "")]
    return document("ErrorResponse", [("Error", fault), ("RequestId", request_id())], namespace, status)
