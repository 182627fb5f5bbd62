# SPDX-License-Identifier: Apache-2.0
"""Temporary credentials at /services/Tokens: GetSessionToken, AssumeRole (refused: no roles here), GetCallerIdentity.

Sources: github eucalyptus/eucalyptus 4.4.2, tokens-binding.xml (namespace, elements). Temporary keys have the rights of
who asked for them. UNCONFIRMED: that a token works the moment it is given at every host.
"""

from __future__ import annotations

import secrets
from typing import Any

from nephoscope.demo.markup import date, document, iam_error, request_id
from nephoscope.demo.model import Answer, Cloud, Request

PATHS = ("/services/Tokens",)
SIGNED = "query"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"

Pairs = list[tuple[str, Any]]


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer one signed request."""
    name, user = request.action, request.user
    if user is None:
        return iam_error(NAMESPACE, 403, "AccessDenied", "Not authenticated")
    if name == "GetCallerIdentity":
        result: Pairs = [("Arn", user.arn), ("UserId", user.access), ("Account", user.number)]
    elif name == "GetSessionToken" and not user.token:
        access = "ASI" + secrets.token_hex(9).upper()[:17]
        session = user._replace(access=access, secret=secrets.token_urlsafe(30), token=secrets.token_urlsafe(60))
        seconds = min(int(request.params.get("DurationSeconds", "43200")), 129600)
        cloud.users[access] = session
        keys: Pairs = [("AccessKeyId", access), ("SecretAccessKey", session.secret), ("SessionToken", session.token)]
        result = [("Credentials", [*keys, ("Expiration", date(cloud.now() + seconds))])]
    else:
        return iam_error(NAMESPACE, 403, "AccessDenied", f"Not authorized to {name}")
    metadata: Pairs = [("ResponseMetadata", [("RequestId", request_id())])]
    return document(f"{name}Response", [(f"{name}Result", result), *metadata], NAMESPACE)
