"""`trainyard train`, `requests`, `runs`, `run …`: from a model to a version, and why that takes so long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trainyard.contracts.requests import OPEN_STATES, STATES
from trainyard.durations import in_words
from trainyard.leaderboard import progress_in_words
from trainyard.money import dollars
from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import KINDS_HELP, TRIALS_HELP, WORKERS_HELP, CommandError, Duration, Names, command
from trainyard_client.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

    Json = dict[str, Any]


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    group = click.Group("run", help="One attempt to train a version.")
    root.add_command(group)
    _add_train_command(root)
    _add_requests_command(root)
    _add_run_commands(root, group)


def _add_requests_command(root: click.Group) -> None:
    @click.argument("name", shell_complete=completing.models, required=False)
    @click.option("--state", type=click.Choice(STATES), help="Only requests in this state.")
    def requests(output: Output, client: Client, name: str | None, state: str | None) -> None:
        """List the training requests, of all models or of the model NAME, newest first."""
        found = list(client.requests(name, state=state))
        if not output.data(found):
            columns = ("id", "model", "state", "priority", "reason", "new_rows", "attempt", "error_class", "created_at",
                       "outcome")  # fmt: skip
            output.table(found, columns, empty="no training requests" + (f" are {state}" if state else " yet"))

    command(root, "requests", example="trainyard requests late --state queued")(requests)


def _add_train_command(root: click.Group) -> None:
    @click.argument("name", shell_complete=completing.models)
    @click.option("--wait", is_flag=True, help="Stay until it has ended and say what came out.")
    @click.option("--timeout", type=Duration(), default="30m", show_default=True, help="Longest wait with --wait.")
    @click.option("--priority", type=int, help="-100 to 100; the higher is taken first. By default the policy's.")
    @click.option("--instance-type", "instance_types", multiple=True, help="Where to train, best first; repeatable.")
    @click.option("--spot/--no-spot", default=None, help="Whether spot capacity may train it.")
    @click.option("--kind", "kinds", type=Names(), help=KINDS_HELP)
    @click.option("--budget-trials", type=click.IntRange(1), metavar="N", help=TRIALS_HELP)
    @click.option("--workers", "search_workers", type=click.IntRange(1), metavar="N", help=WORKERS_HELP)
    def train(
        output: Output, client: Client, *, name: str, wait: bool, timeout: float, priority: int | None,
        instance_types: tuple[str, ...], spot: bool | None, **options: Any,
    ) -> Exit | None:  # fmt: skip
        """Train a version of the model NAME now, whatever its policy says."""
        settings = {key: value for key, value in options.items() if value is not None}
        request = client.train(name, settings, priority=priority, instance_types=instance_types or None, spot=spot)
        if not wait:
            if not output.data(request):
                ident = request["id"]
                output.say(f"request {ident} is {request['state']}; see why with: trainyard run explain {ident}")
                wishes = {"priority": priority, "instance_types": list(instance_types) or None, "spot": spot}
                _say_what_was_not_taken(output, request, wishes, settings)
            return None
        request = wait_with_progress(output, client, request["id"], timeout)
        version = next((v for v in client.versions(name) if v["request_id"] == request["id"]), None)
        if not output.data({"request": request, "version": version}):
            _show_outcome(output, request, version)
        return Exit.OK if request["state"] == "done" else Exit.FAILED

    command(root, "train", example="trainyard train late --wait")(train)


def _say_what_was_not_taken(output: Output, request: Json, wishes: Json, settings: Json) -> None:
    """Say so when the answer is an open request for the same rows, which was asked for with other wishes."""
    kept = [name for name, wish in wishes.items() if wish is not None and request.get(name) != wish]
    kept += [name for name, wish in settings.items() if request.get("settings", {}).get(name, wish) != wish]
    if kept:
        names = " and ".join(name.replace("_", " ") for name in kept)
        output.say(
            f"it was open already for the same rows, and its {names} stay as they were; to ask anew, first:"
            f" trainyard run cancel {request['id']}"
        )


def wait_with_progress(output: Output, client: Client, request_id: str, seconds: float) -> Json:
    """Wait for a training request's end under a progress bar that shows its run; return the request."""
    with output.progress() as progress:
        task = progress.add_task("queued", total=None)

        def show(request: Json, run: Json | None) -> None:
            at = (run or {}).get("progress") or {}
            said = progress_in_words(at) or request["state"]
            progress.update(task, description=said[:80], completed=at.get("done") or 0, total=at.get("total"))

        return client.wait(request_id, seconds=seconds, on_progress=show)


def _show_outcome(output: Output, request: Json, version: Json | None) -> None:
    if version is None:
        output.say(f"request {request['id']} is {request['state']}: {request.get('error') or 'no version came of it'}")
        return
    verdict = "passed the gate" if version["passed"] else "did not pass the gate"
    output.say(f"version {version['version']} of {version['model']} {verdict}")
    show_gate(output, version)


def show_gate(output: Output, version: Json) -> None:
    """Print the checks of a version's gate report, value beside threshold, and the columns it did not learn from."""
    columns = ("name", "value", "threshold", "passed", "words")
    output.table(version["gate"].get("checks", []), columns, empty="no gate report")
    _say_left_out(output, version.get("holdout", {}).get("left_out", ()))


def _say_left_out(output: Output, verdicts: Iterable[Json]) -> None:
    for verdict in verdicts:
        output.say(f"left out: {verdict['column']} ({verdict['kind']}): {verdict['reason']}")


def _add_run_commands(root: click.Group, group: click.Group) -> None:
    @click.argument("name", shell_complete=completing.models, required=False)
    def runs(output: Output, client: Client, name: str | None) -> None:
        """List the runs, of all models or of the model NAME, newest first."""
        found = list(client.runs(name))
        if not output.data(found):
            columns = ("id", "model", "attempt", "state", "version", "started_at", "ended_at", "error_class", "error")
            output.table(found, columns, empty="no runs yet")

    @click.argument("run_id", shell_complete=completing.runs, metavar="ID")
    def show(output: Output, client: Client, run_id: str) -> None:
        """Show the run ID, or the newest of the training request ID: progress, trials by rank, columns left out."""
        run = _run_of(client, run_id)
        if not output.data(run):
            names = ("id", "model", "request_id", "attempt", "state", "version", "worker", "instance_id", "progress",
                     "started_at", "ended_at", "error_class", "error", "environment")  # fmt: skip
            output.fields({**run, "progress": progress_in_words(run.get("progress") or {}) or None}, names)
            if run.get("reproduction"):
                output.say(run["reproduction"]["words"])
            columns = ("rank", "number", "kind", "params", "metric", "score", "seconds", "pruned", "chosen", "worker")
            alone = len({trial.get("worker") for trial in run["trials"]}) < 2  # then the run has said who it is
            output.table(run["trials"], columns[:-1] if alone else columns, empty="no trials yet")
            _say_left_out(output, run.get("left_out", ()))

    @click.argument("run_id", shell_complete=completing.runs, metavar="ID")
    def cancel(output: Output, client: Client, run_id: str) -> None:
        """Cancel the training that the run (or training request) ID belongs to."""
        request = _cancelled(client, _request_of(client, run_id))
        if not output.data(request):
            running = request["state"] == "running"
            stops = "; its trainer was asked to stop and does so within seconds" if running else ""
            output.say(f"request {request['id']} is {request['state']}{stops}")

    @click.argument("run_id", shell_complete=completing.runs, metavar="ID")
    @click.option("--wait", is_flag=True, help="Stay until it is done; ends with 0 if identical, with 8 if not.")
    @click.option("--timeout", type=Duration(), default="30m", show_default=True, help="Longest wait with --wait.")
    def reproduce(output: Output, client: Client, *, run_id: str, wait: bool, timeout: float) -> Exit | None:
        """Fit the version of the run (or training request) ID again, and compare its bytes.

        A worker repeats the final fit from the version's lineage, not the search. No version comes of it.
        """
        request = client.reproduce(_run_of(client, run_id)["id"])
        if not wait:
            if not output.data(request):
                output.say(
                    f"request {request['id']} to reproduce version {request['reproduces']} is {request['state']};"
                    f" what came of it: trainyard run show {request['id']}"
                )
            return None
        request = wait_with_progress(output, client, request["id"], timeout)
        run = client.run_of(request)
        if not output.data({"request": request, "run": run}):
            output.say(str(request["outcome"]))
        if request["state"] != "done" or run is None:
            return Exit.FAILED
        return Exit.OK if run["reproduction"]["identical"] else Exit.DIFFERS

    @click.argument("ident", shell_complete=completing.requests, metavar="ID")
    def explain(output: Output, client: Client, ident: str) -> None:
        """Say why the training request ID (or that of the run ID) waits, or what is being done about it."""
        found = client.explain(ident)
        if not output.data(found):
            _show_explanation(output, found)

    command(group, "explain", example="trainyard run explain 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55")(explain)
    command(root, "runs", example="trainyard runs late")(runs)
    command(group, "show", example="trainyard run show 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55")(show)
    command(group, "reproduce", example="trainyard run reproduce 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55 --wait")(
        reproduce
    )
    command(group, "cancel", example="trainyard run cancel 0192f7f0-8c1a-7d3e-9d8a-0f4e2c6b1a55")(cancel)


def _run_of(client: Client, ident: str) -> Json:
    """Return the run, or the newest one of the request of that id."""
    try:
        return client.run(ident)
    except ApiError as e:
        if e.code != "unknown_run":
            raise
        request = _request_or_none(client, ident)
        if request is None:
            raise
    run = client.run_of(request)
    if run is None:
        hint = f"see why with: trainyard run explain {ident}"
        raise CommandError(f"training request {ident} is {request['state']} and has no run", Exit.NOT_FOUND, hint=hint)
    return run


def _request_or_none(client: Client, ident: str) -> Json | None:
    try:
        return client.request(ident)
    except ApiError as e:
        if e.code != "unknown_request":
            raise
        return None


def _request_of(client: Client, ident: str) -> str:
    try:
        return str(client.run(ident)["request_id"])
    except ApiError as e:
        if e.status != 404:
            raise
        return ident  # not a run: a request that no trainer has taken yet


def _cancelled(client: Client, request_id: str) -> Json:
    """Cancel the request; one that has ended is told with its state and what to do instead."""
    try:
        return client.cancel(request_id)
    except ApiError as e:
        if e.code == "conflict":
            request = client.request(request_id)
            again = (
                "" if request["state"] == "done" else f"; ask for a new one with: trainyard train {request['model']}"
            )
            e.hint = f"nothing is left to cancel, the request is {request['state']}{again}"
        raise


def _show_explanation(output: Output, found: Json) -> None:
    """Print the sentence, what to do, and the facts behind them."""
    output.say(found["sentence"])
    if found["to_do"]:
        output.say(f"next: {found['to_do']}")
    facts = {
        **found,
        "request": found["request_id"],
        "instance_types": found["instance_types"] or "any",
        "spot": _SPOT[found.get("spot")],
        "waited": in_words(found["waited_seconds"]),
        "expected_wait": _seconds(found["expected_wait_seconds"]),
        "queue": _facts(found["queue"]),
        "sent_to_trainers": _sent(found["message"]),
        "held_by": _holder(found["lease"]),
        "fleet": _facts({**found["fleet"], "cap": _cap(found["fleet"].get("cap"))}),
    }
    names = ["request", "model", "state", "code", "blocked_by", "priority", "instance_types", "spot"]
    if found["state"] in OPEN_STATES:  # of one that has ended they say nothing
        names += ["waited", "expected_wait", "queue", "sent_to_trainers", "held_by", "fleet"]
    output.fields(facts, names)
    columns = ("attempt", "state", "worker", "seconds", "error_class", "error")
    output.table(found["attempts"], columns, empty="no attempts yet")


#: Whether spot capacity may serve a request, as it says itself.
_SPOT = {None: "as TRAINYARD_SPOT says", True: "yes", False: "no"}


def _sent(message: Json) -> str:
    """Say how often trainers were told of a request, and when they are told again."""
    sends, ago, again = message["sends"], message["sent_seconds_ago"], message["next_resend_seconds"]
    said = ["not yet" if ago is None else f"{sends} time{'s' * (sends != 1)}, last {in_words(ago)} ago"]
    if message["unsent"] and ago is not None:
        said.append("once more now")
    elif again and ago is not None:
        said.append(f"again in {in_words(again)} if nobody takes it")
    return "; ".join(said)


def _holder(lease: Json) -> str | None:
    """Say which trainer has a request, and how long it keeps it without a word."""
    if lease["holder"] is None:
        return None
    left = lease["seconds_left"]
    if left is None:
        return str(lease["holder"])
    return f"{lease['holder']}, " + (
        f"for {in_words(left)} without a word from it" if left >= 0 else "which has vanished"
    )


def _facts(facts: Json) -> Json:
    """Return the facts that apply, in words; what ends in "seconds" is told with its unit."""
    known = {name: value for name, value in facts.items() if value is not None}
    return {
        name.removesuffix("_seconds").replace("seconds_", "").replace("_", " "): (
            in_words(value) if "seconds" in name else value
        )
        for name, value in known.items()
    }


def _cap(cap: Json | None) -> str | None:
    if cap is None:
        return None
    tell = dollars if cap["name"] == "usd_per_day" else "{:g}".format
    name = cap["name"].removeprefix("usd_").replace("_", " ")
    return f"{tell(cap['used'])} of {tell(cap['limit'])} {name}"


def _seconds(value: float | None) -> str | None:
    return None if value is None else in_words(value)
