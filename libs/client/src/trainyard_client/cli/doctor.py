"""`trainyard doctor`: whether everything that was promised holds, and how to mend what does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard.clock import SystemClock
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import Duration, command
from trainyard_client.errors import ApiError, UnreachableError

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

_POLL_SECONDS = 1.0
_AWAY = frozenset({502, 503, 504})


def add_to(root: click.Group) -> None:
    """Add the command."""

    @click.option("--everything", is_flag=True, help="Look at everything, not only at the newest part; takes longer.")
    @click.option("--wait", "seconds", type=Duration(), help="Ask until healthy, for at most so long.")
    def doctor(output: Output, client: Client, *, everything: bool, seconds: float | None) -> Exit:
        """Check that nothing was lost, doubled or left over; exit 0 only when everything passed.

        A check that could not be made is 'unknown', which is not healthy. docs/doctor.md explains each check.
        """
        report = _healthy_in_time(client, everything, seconds or 0.0, SystemClock())
        if not output.data(report):
            _show(output, report)
        return Exit.OK if report["healthy"] else Exit.FAILED

    command(root, "doctor", example="trainyard doctor --wait 60")(doctor)


def _healthy_in_time(client: Client, everything: bool, seconds: float, clock: Clock) -> Any:
    """Ask again and again until the answer is healthy or the time is over; return the last answer.

    Raises:
        ClientError: nobody answered, at the end of the time.
    """
    deadline = clock.monotonic() + seconds
    while True:
        late = clock.monotonic() >= deadline
        try:
            report = client.doctor(everything=everything)
        except (UnreachableError, ApiError) as e:
            if late or (isinstance(e, ApiError) and e.status not in _AWAY):
                raise
        else:
            if report["healthy"] or late:
                return report
        clock.sleep(min(_POLL_SECONDS, max(0.0, deadline - clock.monotonic())))


def _show(output: Output, report: Any) -> None:
    output.table(report["checks"], ("id", "title", "state"), empty="no checks")
    for check in report["checks"]:
        _show_problems(output, check)
        for note in check.get("notes", ()):
            output.note(f"{check['id']}: {note}")
    output.say(_verdict(report))


def _verdict(report: Any) -> str:
    """Return the answer in a sentence: which checks are behind it, and where to read on."""
    checks = report["checks"]
    if report["healthy"]:
        return f"healthy: all {len(checks)} checks passed"
    failed = [check["id"] for check in checks if check.get("state") == "failed"]
    unknown = [check["id"] for check in checks if check.get("state", "unknown") == "unknown"]
    parts = [f"{', '.join(ids)} {word}" for ids, word in ((failed, "failed"), (unknown, "could not be made")) if ids]
    verdict = "not healthy" if failed else "not known to be healthy"
    return f"{verdict}: of {len(checks)} checks {' and '.join(parts)}; what each means: docs/doctor.md"


def _show_problems(output: Output, check: Any) -> None:
    """Say what is wrong, each advice behind the problems that it is for."""
    advised = check.get("mends") or [{"mend": check.get("mend"), "problems": check["problems"]}]
    named = {problem for advice in advised for problem in advice["problems"]}
    for advice in [*advised, {"mend": "", "problems": [p for p in check["problems"] if p not in named]}]:
        for problem in advice["problems"]:
            output.say(f"{check['id']}: {problem}")
        if advice["mend"]:
            output.say(f"{check['id']}: mend it: {advice['mend']}")
