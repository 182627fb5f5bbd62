# SPDX-License-Identifier: Apache-2.0
"""Temporary credentials at /services/Tokens: GetSessionToken, AssumeRole (of the one role that there is), GetCallerIdentity.

The role is `monitor` of account eucalyptus; its trust policy is taken to name every user who may sts:AssumeRole.

Sources: github eucalyptus/eucalyptus 4.4.2, tokens-binding.xml (namespace, elements). Temporary keys have the rights of
who asked for them. UNCONFIRMED: that a token works the moment it is given at every host.
"""

from __future__ import annotations

import secrets
from typing import Any

from nephoscope.demo.markup import date, document, iam_error, request_id
from nephoscope.demo.model import Answer, Cloud, Request, User

PATHS = ("/services/Tokens",)
SIGNED = "query"
ROLE = "arn:aws:iam::000000000001:role/monitor"
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
        result = [_session(cloud, user, min(int(request.params.get("DurationSeconds", "43200")), 129600))]
    elif name == "AssumeRole" and request.params.get("RoleArn") == ROLE and user.may("sts:AssumeRole"):
        result = [
            _session(cloud, cloud.member("monitor"), min(int(request.params.get("DurationSeconds", "3600")), 3600))
        ]
        who = request.params.get("RoleSessionName", "")
        arn = f"arn:aws:sts::000000000001:assumed-role/monitor/{who}"
        result.append(("AssumedRoleUser", [("AssumedRoleId", f"AROA0000000000000MON:{who}"), ("Arn", arn)]))
    else:
        return iam_error(NAMESPACE, 403, "AccessDenied", f"Not authorized to {name}")
    metadata: Pairs = [("ResponseMetadata", [("RequestId", request_id())])]
    return document(f"{name}Response", [(f"{name}Result", result), *metadata], NAMESPACE)


def _session(cloud: Cloud, user: User, seconds: int) -> tuple[str, Any]:
    access = "ASI" + secrets.token_hex(9).upper()[:17]
    session = user._replace(access=access, secret=secrets.token_urlsafe(30), token=secrets.token_urlsafe(60))
    cloud.users[access] = session
    keys: Pairs = [("AccessKeyId", access), ("SecretAccessKey", session.secret), ("SessionToken", session.token)]
    return ("Credentials", [*keys, ("Expiration", date(cloud.now() + seconds))])
