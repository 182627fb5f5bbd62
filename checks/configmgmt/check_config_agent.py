# SPDX-License-Identifier: Apache-2.0
"""Is the agent of configuration management installed, running or scheduled, not disabled, and succeeding?

Puppet, CFEngine, Chef, Salt and ansible-pull. Without --agent every one that is found here is looked at; ansible-pull, which
comes with every Ansible, when it has left a result or something starts it.

* Age of the last run, in `intervals`: WARNING beyond 2, CRITICAL beyond 12, which for Puppet's 30 minutes are 1 h and 6 h.
  The length of an interval comes from the agent's configuration, else from its documentation (CFEngine 5 min, Chef 30 min,
  Salt 1 h; ansible-pull, which has none, 1 h), or from --interval. Limits in seconds go to `age`, and are not set.
* A run that did not do its work (no catalogue, an exception, a play that stopped, the failsafe policy) is CRITICAL. One that
  did it with failures is WARNING, and CRITICAL when more than 5 % failed.
* A run that did not do it on purpose (noop, test=True) or at all (CFEngine: policy updates alone are on record) is WARNING.
* A disabled agent is WARNING with the reason that was given, CRITICAL after 24 h; its age is no fault meanwhile. A lock that
  nobody holds any more, or that is held for more than 1 h, is WARNING.
* Changes in 5 successive runs are WARNING: such a node never gets where it should be.
* Neither daemon nor timer nor cron entry is CRITICAL: nothing will start the next run. --elsewhere: something else does.

--agent-dir names Puppet's vardir, CFEngine's workdir, the directory of Chef's reports, Salt's configuration directory or that
of ansible-pull's log; --result a file that lies elsewhere still.

`puppet apply` of a manifest that does not compile leaves no trace: there only the age tells. Puppet's report is closed to
others than root; where it may be read it gives the reason of a failure, and says when the cached catalogue was used.

Salt and ansible-pull keep no result by themselves. For Salt start this by timer or cron, as /usr/local/sbin/salt-call-kept with
`state.apply` as argument:

    #!/bin/sh
    f=/var/log/salt/highstate.json
    salt-call "$@" --out=json --retcode-passthrough > $f.new; rc=$?
    mv $f.new $f
    exit $rc

For ansible-pull this, as /usr/local/sbin/ansible-pull-kept with ansible-pull's own arguments. The log alone will do, and so
will the stamp; an empty one is a success at the time it was touched (`ansible-pull … && touch /var/log/ansible-pull.json`).

    #!/bin/sh
    f=/var/log/ansible-pull.json
    export ANSIBLE_LOG_PATH=/var/log/ansible-pull.log
    start=$(date +%s); ansible-pull "$@"; rc=$?
    printf '{"rc": %d, "start": %d, "end": %d}' $rc $start $(date +%s) > $f.new && mv $f.new $f
    exit $rc

For Chef, client.rb needs `Chef::Handler::JsonFile` among its report_handlers and its exception_handlers.
"""

from __future__ import annotations

from nephoscope.plugin import CRITICAL, OK, WARNING, Check, Finding, Group, Metric, Sudo, Threshold, duration
from nephoscope.probes import config_agent

STATES = {"ok": OK, "changed": OK, "skipped": OK, "failed": WARNING, "empty": WARNING, "aborted": CRITICAL}
COUNTED = ("failed", "failed_share", "changed", "out_of_sync", "changed_runs", "run")


def options(add):
    add("--agent", repeat=True, choices=config_agent.NAMES, metavar="NAME", help=", ".join(config_agent.NAMES))
    add("--agent-dir", repeat=True, type=config_agent.place, metavar="NAME=DIR", help="its state, if in no usual place")
    add("--result", repeat=True, type=config_agent.place, metavar="NAME=FILE", help="what a run leaves, likewise")
    add("--wrapper", repeat=True, metavar="PROGRAM", help="program that starts an agent, as timers and cron name it")
    add("--interval", type=duration, looks=False, help="time between runs, instead of the agent's own")
    add("--elsewhere", flag=True, help="runs are started from elsewhere: ask for no daemon, timer or cron entry")


def probe(options, run):
    places = (options.agent_dir, options.result)
    return config_agent.look(run, options.agent, *places, options.wrapper, not options.elsewhere)


def judge(agents, options):
    for agent in agents:
        name, last, disabled, lock = agent.name, agent.last, agent.disabled, agent.lock
        yield from agent.failures
        if last:
            state = STATES[last.status]
            yield Finding(state, name, last.words) if state else Finding(OK, "", agent.words)
            if last.note:
                yield Finding(WARNING, name, f"last run: {last.note}")
            yield Metric("age", agent.since(last.at), name)
            if not disabled:
                yield Metric("intervals", round(agent.since(last.at) / (options.interval or agent.interval), 2), name)
            values = (last.failed, last.share, last.changed, last.out_of_sync, agent.changed_runs, last.seconds)
            yield from (Metric(*pair, name) for pair in zip(COUNTED, values) if pair[1] is not None)
        elif not agent.failures:
            yield Finding(CRITICAL, name, "has never run")
        if disabled:
            yield Finding(WARNING, name, f"disabled since {disabled.since:%Y-%m-%d %H:%M} UTC: {disabled.reason}")
            yield Metric("disabled", agent.since(disabled.since), name)
        if lock:
            yield Metric("lock", agent.since(lock.since), name) if lock.alive else Finding(WARNING, name, lock.words)
        if agent.unstarted:
            yield Finding(CRITICAL, name, f"started by nothing: {agent.unstarted}")


CHECK = Check(
    options,
    probe,
    judge,
    keep=config_agent.keep,
    needs=(Group("puppet"), *(Sudo(*config_agent.READ, path) for path in config_agent.CLOSED)),
    thresholds=[
        Threshold("age", "s", main=True, help="time since the end of the last run"),
        Threshold("intervals", "", "2", "12", help="the same, in times between two runs"),
        Threshold("failed", "", "0", help="resources, states or tasks that failed in the last run"),
        Threshold("failed_share", "%", "0", "5", help="the same, of all it looked at"),
        Threshold("changed", "", help="resources that the last run changed"),
        Threshold("out_of_sync", "", help="resources that the last run found otherwise than described"),
        Threshold("changed_runs", "", "4", help="successive runs that changed something"),
        Threshold("run", "s", help="how long the last run took"),
        Threshold("disabled", "s", None, "86400", help="time since the agent was disabled"),
        Threshold("lock", "s", "3600", help="how long a run has been under way"),
    ],
    runbook="""
See what the agent says by hand, as root: `puppet agent --test --noop`, `cf-agent -K -n`, `chef-client --why-run`,
`salt-call state.apply test=True`, `ansible-pull --check` with the arguments of its cron entry.
Disabled: ask who did it (the reason tells, one hopes) before `puppet agent --enable`, `salt-call state.enable highstate`.
No catalogue: the server, its certificate or a manifest; `puppet agent --test` shows which.
Started by nothing: `systemctl enable --now puppet` (cfengine3, chef-client, salt-minion), or put timer or cron entry back.
Changes in every run: two resources undo each other, or an exec lacks its condition; the reports of two runs show which.
A lock that stays: look at the process (`ps -fp PID`), a hung package manager or mount; end it, the next run clears the lock.
""",
)
main = CHECK.main
