# SPDX-License-Identifier: Apache-2.0
"""IAM as Eucalyptus answers it at /services/Euare, with its own ListAccounts, account policies and DelegateAccount.

Sources: github eucalyptus/eucalyptus 4.4.2: EuareService.java, euare-binding.xml (whose namespace is written with
https), EuareException.java, EuareErrorHandler. Policy documents are sent URL-encoded, as IAM does. Lists are never cut
into pages (IsTruncated false). A user without the right gets `NotAuthorized` (403) where the whole call is refused and
an empty list where each entry is asked for (ListAccounts, ListUsers). UNCONFIRMED: the exact texts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from nephoscope.demo import resources
from nephoscope.demo.markup import date, document, iam_error, items, request_id
from nephoscope.demo.model import Answer, Cloud, Request, User

PATHS = ("/services/Euare",)
SIGNED = "query"
NAMESPACE = "https://iam.amazonaws.com/doc/2010-05-08/"

Pairs = list[tuple[str, Any]]


class _Error(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status, self.code, self.message = status, code, message


class Call:
    """One request: who asks, and of which account."""

    def __init__(self, cloud: Cloud, request: Request) -> None:
        if request.user is None:
            raise _Error(403, "NotAuthorized", "Not authenticated")
        self.cloud = cloud
        self.user: User = request.user
        self.params = request.params
        self.action = request.action

    def account(self) -> resources.Account:
        """Return the account asked about: DelegateAccount (for the account `eucalyptus` only), else the caller's own.

        A role of that account that lacks the right is refused both, whatever others are told (EuareService.getRealAccount).
        """
        name = self.params.get("DelegateAccount")
        if self.user.of_system and not self.allowed():
            refused = f"Access not authorized for {self.user.number}" if name is None else ""
            raise _Error(403, "NotAuthorized", refused or f"Delegation access not authorized for {name}")
        if name is None:
            return resources.account_of(self.cloud, self.user.account)
        if not self.user.of_system:
            raise _Error(403, "NotAuthorized", f"Delegation access not authorized for {name}")
        try:
            return resources.account_of(self.cloud, name)
        except KeyError:
            raise _Error(403, "NotAuthorized", f"Can not find delegation account {name}") from None

    def named(self) -> resources.Account:
        """Return the account in AccountName: for the account `eucalyptus` alone (Privileged.allowListOrReadAccountPolicy)."""
        name = self.need("AccountName")
        both = self.user.may("iam:ListAccountPolicies") and self.user.may("iam:GetAccountPolicy")
        try:
            found = resources.account_of(self.cloud, name)
        except KeyError:
            raise _Error(404, "NoSuchEntity", f"Can not find account {name}") from None
        if not (self.user.of_system and both):
            raise _Error(403, "NotAuthorized", f"Not authorized to access account {name}")
        return found

    def need(self, name: str) -> str:
        """Return a parameter that must be there."""
        value = self.params.get(name)
        if not value:
            raise _Error(400, "MissingParameter", f"{name} is required")
        return value

    def allowed(self) -> bool:
        """Say whether a policy lets the caller do this; `admin` of an account may do all in it."""
        return self.user.name == "admin" or self.user.may(f"iam:{self.action}")

    def must(self) -> None:
        """Refuse a caller without the right."""
        if not self.allowed():
            raise _Error(403, "NotAuthorized", f"Not authorized to {self.action} by {self.user.name}")

    def member(self, kind: str) -> resources.Member:
        """Return the user or group that UserName or GroupName names."""
        account = self.account()
        places = account.users if kind == "User" else account.groups
        name = self.need(f"{kind}Name")
        policies = {"ListUserPolicies": "list", "GetUserPolicy": "get"}
        if name == "admin" and self.action in policies and self.cloud.at_least(4):
            # They are the account's, which are asked for as such (Privileged.allowListUserPolicy).
            what = f"{policies[self.action]} user policies for admin by {self.user.name}"
            raise _Error(403, "NotAuthorized", f"Not authorized to {what}")
        if name not in places:
            raise _Error(404, "NoSuchEntity", f"Can not find {kind.lower()} {name}")
        return places[name]


def answer(cloud: Cloud, request: Request) -> Answer:
    """Answer one signed request."""
    try:
        action = _ACTIONS.get(request.action)
        if action is None:
            raise _Error(403, "NotAuthorized", f"The simulator does not do {request.action or 'nothing'}")
        call = Call(cloud, request)
        if request.action not in ("ListAccounts", "ListUsers", "ListGroups"):
            call.must()
        name = request.action
        metadata: Pairs = [("ResponseMetadata", [("RequestId", request_id())])]
        return document(f"{name}Response", [(f"{name}Result", action(call)), *metadata], NAMESPACE)
    except _Error as error:
        return iam_error(NAMESPACE, error.status, error.code, error.message)


def _members(contents: Any) -> list[tuple[str, Any]]:
    return items(contents, "member")


def _whole(name: str, contents: Any) -> Pairs:
    return [(name, _members(contents)), ("IsTruncated", False)]


def _accounts(call: Call) -> Pairs:
    if not call.allowed():
        raise _Error(403, "NotAuthorized", "Not authorized to list accounts")
    found = resources.accounts(call.cloud).values()
    seen = [each for each in found if call.user.of_system or each.name == call.user.account]
    return _whole("Accounts", [[("AccountName", each.name), ("AccountId", each.number)] for each in seen])


def _summary(call: Call) -> Pairs:
    account = call.account()
    policies = sum(len(each.policies) for each in (*account.users.values(), *account.groups.values()))
    counts = {
        "Groups": len(account.groups),
        "Users": len(account.users),
        "Roles": 0,
        "InstanceProfiles": 0,
        "ServerCertificates": 0,
        "Providers": 0,
        "AttachedPoliciesPerGroupQuota": 10,
        "AttachedPoliciesPerRoleQuota": 10,
        "AttachedPoliciesPerUserQuota": 10,
        "Policies": policies,
        "PolicySizeQuota": 16384,
    }
    return [("SummaryMap", items(([("key", key), ("value", value)] for key, value in counts.items()), "entry"))]


def _person(call: Call, account: resources.Account, kind: str, each: resources.Member) -> Pairs:
    arn = f"arn:aws:iam::{account.number}:{kind.lower()}/{each.name}"
    start = date(call.cloud.shown(call.cloud.elapsed() - 90 * resources.DAY))
    row: Pairs = [("Path", "/"), (f"{kind}Name", each.name), (f"{kind}Id", each.number), ("Arn", arn)]
    return [*row, ("CreateDate", start)]


def _users(call: Call) -> Pairs:
    account = call.account()
    found = account.users.values() if call.allowed() else ()
    return _whole("Users", [_person(call, account, "User", each) for each in found])


def _groups(call: Call) -> Pairs:
    account = call.account()
    found = account.groups.values() if call.allowed() else ()
    return _whole("Groups", [_person(call, account, "Group", each) for each in found])


def _user(call: Call) -> Pairs:
    name = call.params.get("UserName") or call.user.name
    account = call.account()
    if name not in account.users:
        raise _Error(404, "NoSuchEntity", f"Can not find user {name}")
    return [("User", _person(call, account, "User", account.users[name]))]


def _group(call: Call) -> Pairs:
    account, group = call.account(), call.member("Group")
    users = [_person(call, account, "User", account.users[name]) for name in group.members if name in account.users]
    return [("Group", _person(call, account, "Group", group)), *_whole("Users", users)]


def _groups_of_user(call: Call) -> Pairs:
    account, user = call.account(), call.member("User")
    return _whole(
        "Groups",
        [_person(call, account, "Group", each) for each in account.groups.values() if user.name in each.members],
    )


def _policy(owner: str, of: resources.Account | resources.Member, call: Call) -> Pairs:
    name = call.need("PolicyName")
    if name not in of.policies:
        raise _Error(404, "NoSuchEntity", f"Can not find policy {name}")
    return [(owner, of.name), ("PolicyName", name), ("PolicyDocument", quote(json.dumps(of.policies[name]), safe=""))]


_ACTIONS: dict[str, Callable[[Call], Pairs]] = {
    "ListAccounts": _accounts,
    "GetAccountSummary": _summary,
    "ListUsers": _users,
    "GetUser": _user,
    "ListGroups": _groups,
    "GetGroup": _group,
    "ListGroupsForUser": _groups_of_user,
    "ListAccountPolicies": lambda call: _whole("PolicyNames", sorted(call.named().policies)),
    "GetAccountPolicy": lambda call: _policy("AccountName", call.named(), call),
    "ListUserPolicies": lambda call: _whole("PolicyNames", sorted(call.member("User").policies)),
    "GetUserPolicy": lambda call: _policy("UserName", call.member("User"), call),
    "ListGroupPolicies": lambda call: _whole("PolicyNames", sorted(call.member("Group").policies)),
    "GetGroupPolicy": lambda call: _policy("GroupName", call.member("Group"), call),
    "ListAccountAliases": lambda call: _whole("AccountAliases", [call.account().name]),
    "ListAttachedUserPolicies": lambda call: _whole("AttachedPolicies", []),
    "ListAttachedGroupPolicies": lambda call: _whole("AttachedPolicies", []),
}
