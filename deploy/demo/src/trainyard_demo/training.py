"""Watches a training that nobody asked for: from the rows that crossed the threshold to the gate's verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from trainyard_client import WaitTimeoutError
from trainyard_demo.errors import DemoError
from trainyard_demo.plan import MODEL

if TYPE_CHECKING:
    from trainyard_demo.narrator import Narrator
    from trainyard_demo.user import User

    Json = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    ``began_after`` is the time from the commit of the batch to a trainer at work, in seconds.
    """

    version: Json
    began_after: float

    @property
    def promoted(self) -> bool:
        """Whether the version became champion."""
        return bool(self.version["passed"])


def request_for(user: User, batch: Json, *, patience: float) -> Json:
    """Return the training request that the rows of ``batch`` caused, once the policy has fired.

    Raises:
        DemoError: it has not fired in time; says what the policy decided instead.
    """

    def look() -> Json | None:
        requests = user.client.requests(MODEL)
        return next((r for r in requests if r["upto_seq"] >= batch["last_seq"]), None)

    try:
        found: Json = user.until(look, seconds=patience, what="a training request")
    except DemoError as e:
        decision = next(user.client.decisions(MODEL), None)
        said = f"the policy's last decision: {decision['reason']}" if decision else "the policy has decided nothing"
        raise DemoError(f"{e}; {said}") from e
    return found


def request_for_drift(user: User, batch: Json, *, before: int, patience: float) -> Json:
    """Return the training request that a drift alarm behind the alarm ``before`` has asked for.

    Raises:
        DemoError: rows alone, or anything but drift, asked for it; or none came in time.
    """

    def look() -> Json | None:
        alarms = [a for a in user.client.watched(MODEL)["alarms"] if a["id"] > before and a["request_id"]]
        asked = {alarm["request_id"] for alarm in alarms if alarm["detector"] == "drift"}
        return next((r for r in user.client.requests(MODEL) if r["id"] in asked), None)

    early = next((r for r in user.client.requests(MODEL) if r["upto_seq"] >= batch["last_seq"]), None)
    if early is not None and early["reason"] != "on_drift":
        raise DemoError(f"training request {early['id']} was asked for by {early['reason']}, not by drift")
    try:
        found: Json = user.until(look, seconds=patience, what="a training request by drift")
    except DemoError as e:
        watched = user.client.watched(MODEL)
        said = "; ".join([one["summary"] for one in watched["drift"][:2]] + watched["missing"]) or "nothing was watched"
        raise DemoError(f"{e}; {said}") from e
    if found["reason"] != "on_drift":
        raise DemoError(f"training request {found['id']} was asked for by {found['reason']}, not by drift")
    return found


def finish(user: User, request: Json, batch: Json, narrator: Narrator, *, patience: float) -> Outcome:
    """Wait until the training has ended, under a live line, and return its version.

    Raises:
        DemoError: it failed, or did not end in time.
    """
    first_run: Json = {}
    with narrator.live("waiting for a trainer") as show:

        def on_progress(request: Json, run: Json | None) -> None:
            if run is None:
                return
            first_run.setdefault("started_at", run["started_at"])
            at = run.get("progress") or {}
            said = at.get("message") or at.get("stage") or request["state"]
            show(f"training: {said}", at.get("done"), at.get("total"))

        try:
            ended = user.client.wait(request["id"], seconds=patience, on_progress=on_progress)
        except WaitTimeoutError as e:
            raise DemoError(str(e)) from e
    if ended["state"] != "done":
        raise DemoError(f"training request {ended['id']} is {ended['state']}: {ended['error']}")
    version = next((v for v in user.client.versions(MODEL) if v["request_id"] == ended["id"]), None)
    if version is None:
        raise DemoError(f"training request {ended['id']} is done, but there is no version of it")
    began = datetime.fromisoformat(first_run.get("started_at") or ended["started_at"])
    return Outcome(version, (began - datetime.fromisoformat(batch["created_at"])).total_seconds())


def gate_rows(version: Json) -> list[dict[str, str]]:
    """Return the gate's checks as a table: what was measured beside what was demanded."""
    return [
        {
            "gate": check["name"].replace("_", " "),
            "measured": _figure(check["value"]),
            "needed": _figure(check["threshold"]),
            "": "passed" if check["passed"] else "NOT PASSED",
        }
        for check in version["gate"]["checks"]
    ]


def decisive(version: Json) -> Json:
    """Return the check that the promotion hung on: the first that was not passed, else the comparison of models."""
    checks: list[Json] = version["gate"]["checks"]
    failed = [check for check in checks if not check["passed"]]
    return (failed or [check for check in checks if check["name"].startswith("beats_")][-1:])[0]


def compared(check: Json) -> str:
    """Return a check's numbers, such as ``0.0041 > 0.0018``."""
    larger = check["passed"] == check["name"].startswith(("beats_", "enough_", "no_slice_"))
    return f"{_figure(check['value'])} {'>' if larger else '≤'} {_figure(check['threshold'])}"


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) >= 1 else f"{value:.4f}"
