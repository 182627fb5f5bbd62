# SPDX-License-Identifier: Apache-2.0
"""Defects of the well-known plugins for databases and brokers that ours must not have, where no test of a check holds it already."""

from __future__ import annotations

import pytest
from nephoscope import catalogue
from nephoscope.plugin import UNKNOWN

from tests.probes.test_galera import node

CHECKS = [name for name, module in catalogue.names().items() if ".database." in module or ".messaging." in module]
REFUSED = (
    "option --password is never taken from the command line, which every user of this host can read:"
    " put it into an --extra-opts file or $NEPHOSCOPE_PASSWORD"
)


@pytest.mark.parametrize(
    "status",
    [
        {"wsrep_local_state": "2", "wsrep_local_state_comment": "Donor/Desynced"},
        {"wsrep_local_state": "1", "wsrep_local_state_comment": "Joining"},
        {"wsrep_local_state": "3", "wsrep_local_state_comment": "Joined"},
    ],
)
def test_a_galera_node_that_is_not_synced_is_measured_all_the_same(status):
    """rpc-maas' galera_check gives no number at all then, just when they are needed. (One that is cut off has none that mean anything.)"""
    numbers = {name: value for name, value, _ in node(status=status).values()}
    assert {name for name, _, _ in node().values()} <= set(numbers)
    assert {numbers["recv_queue"], numbers["send_queue"]} != {None}


@pytest.mark.parametrize("name", CHECKS)
def test_no_check_takes_a_password_on_the_command_line(name):
    """Several peers do: everybody on the machine can read it while they run."""
    outcome = catalogue.load(name).run(["--password", "s3cr3t"])
    assert (outcome.state, "s3cr3t" in outcome.text) == (UNKNOWN, False)
    assert outcome.reason == REFUSED or name == "check_amqp_connections"  # which logs in nowhere


def test_the_twelve_are_asked():
    assert len(CHECKS) == 12
