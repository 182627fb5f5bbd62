# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from nephoscope.base import UNREADABLE, Failed, Run
from nephoscope.probes import salt
from nephoscope.probes.config_agent import Disabled, LastRun

AT = datetime.fromtimestamp(1795262030, timezone.utc)
# As salt-call 3008.3 printed them with --local --out=json.
KEPT = {"changes": {}, "comment": "File /made is in the correct state", "name": "/made", "result": True, "__sls__": "ok",
        "__run_num__": 0, "start_time": "12:02:03.869979", "duration": 4.5, "__id__": "/made"}  # fmt: skip
MADE = {**KEPT, "changes": {"diff": "New file"}, "comment": "File /made updated"}
BAD = {"name": "exit 3", "changes": {"pid": 17265, "retcode": 3}, "result": False, "comment": 'Command "exit 3" run',
       "__id__": "fails", "duration": 5.5}  # fmt: skip
TEST = {**BAD, "result": None, "comment": 'Command "exit 3" would have been executed'}
SYNTAX = ["Rendering SLS 'base:syn' failed: Jinja syntax error: unexpected end of template; line 1\n\n---\n{{ broken"]
DISABLED = {"name": "Salt highstate run is disabled. To re-enable, run state.enable highstate", "result": "False",
            "comment": "Disabled"}  # fmt: skip
# Salt's answer when no top file matches (salt/modules/state.py, "no_|-states_|-states_|-None").
NO_TOP = {"no_|-states_|-states_|-None": {"result": False, "comment": "No Top file or master_tops data matches found."}}


def result(**states: object) -> object:
    return salt.result({"local": states}, 1795262030)


def test_states_are_counted() -> None:
    assert result(a=KEPT) == LastRun(AT, "ok", 0, 0, 0, 0.0, 0.0045)
    assert result(a=KEPT, b=MADE) == LastRun(AT, "changed", 0, 1, 1, 0.0, 0.009)
    assert result(a=KEPT, b=MADE, c=BAD, d=KEPT) == LastRun(
        AT, "failed", 1, 1, 2, 25.0, 0.019, 'fails: Command "exit 3" run'
    )


def test_a_test_run_is_no_run_that_did_the_work() -> None:
    run = result(a=KEPT, b=TEST)
    assert (run.status, run.failed, run.out_of_sync) == ("ok", 0, 1)
    assert run.note == "it was a test run (test=True) and would change something"


@pytest.mark.parametrize(
    ("local", "reason"),
    [
        (SYNTAX, "Rendering SLS 'base:syn' failed: Jinja syntax error: unexpected end of template; line 1"),
        ([], "no state was rendered"),
        (NO_TOP, "No Top file or master_tops data matches found."),
        ({"name": "x", "result": "False", "comment": "a new refusal"}, "a new refusal"),
    ],
)
def test_what_did_no_work_is_aborted(local: object, reason: str) -> None:
    assert salt.result({"local": local}, 1795262030) == LastRun(AT, "aborted", reason=reason)


def test_a_run_that_is_disabled_is_no_success_though_it_ended_with_0() -> None:
    assert salt.result({"local": DISABLED}, 1795262030) == Disabled(AT, DISABLED["name"])


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"local": "x"},
        {"local": {"res": True, "msg": "y"}},
        {"local": {"a": {"x": 1}}},
        {"local": {"a": {**KEPT, "result": "maybe"}}},
    ],
)
def test_what_is_no_result_is_not_understood(document: object) -> None:
    with pytest.raises(Failed) as caught:
        salt.result(document, 7.0)
    assert caught.value.kind == UNREADABLE


def test_what_is_kept_is_read_and_grains_say_since_when_runs_are_disabled(tmp_path: Path) -> None:
    (tmp_path / "var/log/salt").mkdir(parents=True)
    (tmp_path / "etc/salt").mkdir(parents=True)
    kept, grains = tmp_path / "var/log/salt/highstate.json", tmp_path / "etc/salt/grains"
    kept.write_text(json.dumps({"local": {"a": KEPT}}))
    os.utime(kept, (1795262030, 1795262030))
    run = Run(root=str(tmp_path))
    assert salt.look(run, "", ())[:2] == (LastRun(AT, "ok", 0, 0, 0, 0.0, 0.0045), None)
    grains.write_text("role: x\nstate_runs_disabled:\n- highstate\n- web\n")
    os.utime(grains, (7, 7))
    assert salt.look(run, "", ()).disabled == Disabled(
        datetime.fromtimestamp(7, timezone.utc), "state.disable highstate, web"
    )
    grains.write_text("state_runs_disabled: []\n")
    assert salt.look(run, "", ()).disabled is None
    kept.write_text(json.dumps({"local": DISABLED}))
    os.utime(kept, (1795262030, 1795262030))
    assert salt.look(run, "", ())[:2] == (LastRun(AT, "skipped"), Disabled(AT, DISABLED["name"]))
    kept.write_text('{"local": {')
    assert salt.look(run, "", ()).last.kind == UNREADABLE


def test_without_a_kept_result_the_cache_tells_when_and_not_what(tmp_path: Path) -> None:
    cache = tmp_path / "var/cache/salt/minion/highstate.cache.p"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"\x81")
    os.utime(cache, (1795262030, 1795262030))
    failed = salt.look(Run(root=str(tmp_path)), "", ()).last
    assert failed.kind == UNREADABLE
    assert failed.error == "no run has left a result; its cache says that states were applied at 2026-11-21 11:53 UTC"


def test_what_starts_a_state_run_and_what_does_not() -> None:
    assert salt.starts(["root", "salt-call", "--local", "state.apply"])
    assert salt.starts(["salt-call-kept", "state.highstate"])
    assert not salt.starts(["salt-call", "saltutil.sync_all"])
    assert salt.is_daemon(["/usr/bin/python3", "/usr/bin/salt-minion", "MultiMinionProcessManager"])
    assert not salt.is_daemon(["/usr/bin/python3", "/usr/bin/salt-master"])
