# SPDX-License-Identifier: Apache-2.0
"""A check with one option of every kind, and roles that run it: what the exports are held to."""

from __future__ import annotations

from typing import Any

from nephoscope.export.roles import Role, Roles, Service
from nephoscope.plugin import Check, Grant, Group, Preset, Sudo, Threshold

QUESTION = "Is the sample well?"


def options(add: Any) -> None:
    add("--path", repeat=True, default=("/a", "/b"), help="directory to try")
    add("--login", required=True, help='who asks, "as\\is"')
    add("--password", secret=True, help="what nobody may read")
    add("--private", flag=True, help="need not be open")
    add("--kind", choices=("big", "small"), default="big", help="which kind")
    add("--number", type=int, help="how many | at most")


def probe(options: Any, run: Any) -> Any:
    return None


def judge(facts: Any, options: Any) -> Any:
    return ()


def check(**words: Any) -> Check:
    """Return the sample check; `words` as those of Check."""
    given: dict[str, Any] = {
        "thresholds": [
            Threshold("free", "%", "10:", "2:", main=True, help="free space"),
            Threshold("left", "s", None, "5", mode="two", print="worst"),
        ],
        "modes": {"one": "is it", "two": "was it"},
        "presets": {"small": Preset("small things", limits={"free": ("5:", None)}, options={"path": ("/c",)})},
        "needs": (Sudo("/usr/sbin/tool", "-a", "x,y"), Sudo("/usr/bin/bare"), Group("adm"), Grant("GRANT x TO y")),
        "runbook": "Look at it.",
    }
    made = Check(options, probe, judge, **{**given, **words})
    made.name, made.thing, made.group, made.question, made.doc = (
        "check_sample",
        "sample",
        "node",
        QUESTION,
        "More of it.",
    )
    return made


def roles(*options_: tuple[str, Any], **words: Any) -> Roles:
    """Return the roles `node`, with nothing, and `sampled`, which includes it and runs the sample."""
    service = Service("sample_one", "check_sample", 300, 60, options_)._replace(**words)
    return Roles((Role("node", "all", (), ()), Role("sampled", "machines with it", ("node",), (service,))))
