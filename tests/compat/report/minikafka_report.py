"""A plugin of pytest that writes one line of JSON for each test: `{"test": ..., "outcome": ..., "why": ...}`.

The file is named by MINIKAFKA_REPORT. A failure while setting up or cleaning up counts against the test.
"""

import json
import os

_outcomes = {}
_RANK = {"skip": 0, "pass": 1, "fail": 2}


def _note(test, outcome, why):
    known = _outcomes.get(test)
    if known is None or _RANK[outcome] > _RANK[known["outcome"]]:
        _outcomes[test] = {"test": test, "outcome": outcome, "why": why}


def pytest_runtest_logreport(report):
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        xfail = getattr(report, "wasxfail", None)
        _note(report.nodeid, "skip", f"expected to fail: {xfail}" if xfail else reason)
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        text = crash.message if crash else str(report.longrepr)
        _note(report.nodeid, "fail", f"{report.when}: {text[:400]}")
    elif report.when == "call":
        _note(report.nodeid, "pass", "")


def pytest_collectreport(report):
    if report.failed:
        _note(report.nodeid, "fail", f"collect: {str(report.longrepr)[-400:]}")


def pytest_sessionfinish(session):
    with open(os.environ["MINIKAFKA_REPORT"], "w", encoding="utf-8") as out:
        for outcome in _outcomes.values():
            out.write(json.dumps(outcome) + "\n")
