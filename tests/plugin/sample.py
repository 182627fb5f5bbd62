# SPDX-License-Identifier: Apache-2.0
"""Is the sample as it should be?

A check whose facts a test gives: what `make` is handed is what the judge yields.
"""

from nephoscope.plugin import Check, Threshold

THRESHOLDS = (
    Threshold("used", "%", "80", "90", main=True, help="share of it that is used"),
    Threshold("size", "B"),
    Threshold("errors_rate", "", "1", "10"),
)


def make(*found, probe=None, options=None, thresholds=THRESHOLDS, **words):
    """Return a check that yields `found`; `probe` replaces the probe, and then the judge yields its facts."""

    def no_options(add):
        pass

    def facts(values, run):
        return probe(values, run) if probe else found

    def judge(facts, values):
        yield from facts

    return Check(options or no_options, facts, judge, thresholds=thresholds, **words)
