"""`trainyard demo`: makes the stage, starts the stack, tells the story, stays up or cleans up."""

from __future__ import annotations

import json
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError
from botocore.exceptions import ClientError as BotoClientError

from trainyard.clock import SystemClock
from trainyard_client import Client, ClientError
from trainyard_demo.data import flights as table
from trainyard_demo.data import source
from trainyard_demo.errors import DemoError
from trainyard_demo.narrator import Narrator
from trainyard_demo.plan import MODEL, Plan
from trainyard_demo.stage import Stage, prepare
from trainyard_demo.story import Story, as_data
from trainyard_demo.user import User
from trainyard_embedded import commands
from trainyard_embedded.errors import StackError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainyard.clock import Clock
    from trainyard.config import Config
    from trainyard_demo.data.flights import Flights
    from trainyard_embedded.stack import Ready

OK, FAILED, INTERRUPTED = 0, 1, 130
_BUILD_SECONDS = 120


class _StoryOver(Exception):  # noqa: N818 - not an error: with --once the end of the story ends the stack
    """Leaves the stack's `up` in order."""


def run(
    config: Config,
    environ: Mapping[str, str],
    *,
    once: bool,
    as_json: bool,
    at: str | None = None,
    plan: Plan | None = None,
) -> int:
    """Run the demo in this terminal; call from the main thread. Return the exit code.

    Args:
        once: end with the story instead of staying up until Ctrl-C.
        at: address of a running stack to play on; it is not stopped.
        as_json: tell the story on standard error and print its table as JSON on standard output.
        plan: another story than the usual one; tests tell a short one.
    """
    clock = SystemClock()
    narrator = Narrator(sys.stderr if as_json else sys.stdout, clock)
    plan = plan or Plan(seed=config.demo_seed)
    try:
        source.find()  # before anything is started
        _announce(narrator, plan, once=once or at is not None)
        if at is not None:
            return _perform_at(Stage.running(config, at), plan, narrator, clock, as_json=as_json)
        config, notes = prepare(config, environ)
        for note in notes:
            narrator.step(note)
    except (DemoError, StackError) as e:
        narrator.say(f"error: {e}")
        return FAILED
    return _perform(config, environ, plan, narrator, clock, once=once, as_json=as_json)


def _perform_at(stage: Stage, plan: Plan, narrator: Narrator, clock: Clock, *, as_json: bool) -> int:
    with ThreadPoolExecutor(1, "table") as executor:
        try:
            _tell(plan, executor.submit(table.build), stage, narrator, clock, as_json=as_json)
        except (DemoError, ClientError, BotoCoreError, BotoClientError) as e:
            narrator.say(f"\nerror: {e}")
            return FAILED
    return OK


def _perform(
    config: Config,
    environ: Mapping[str, str],
    plan: Plan,
    narrator: Narrator,
    clock: Clock,
    *,
    once: bool,
    as_json: bool,
) -> int:
    told = False

    def on_ready(ready: Ready) -> None:
        nonlocal told
        narrator.step(f"the stack is ready at {ready.url}")
        _tell(plan, building, Stage.own(ready), narrator, clock, as_json=as_json)
        told = True
        if once:
            raise _StoryOver
        narrator.say("\nThe stack stays up; stop it with Ctrl-C.")

    # The table is made while the stack starts: both take seconds.
    with ThreadPoolExecutor(1, "table") as executor:
        building = executor.submit(table.build)
        narrator.step(f"starting Postgres, an AWS emulator and the services in {config.data_dir}")
        try:
            commands.up(config, environ, on_ready=on_ready)
        except _StoryOver:
            narrator.step("the stack is stopped")
            return OK
        except (DemoError, ClientError, StackError, BotoCoreError, BotoClientError) as e:
            narrator.say(f"\nerror: {e}\nThe stack is stopped; its logs are in {config.data_dir / 'logs'}")
            return FAILED
    narrator.step("the stack is stopped" if told else "interrupted; the stack is stopped")
    return OK if told else INTERRUPTED


def _announce(narrator: Narrator, plan: Plan, *, once: bool) -> None:
    ending = "" if once else ", then the stack stays up until Ctrl-C"
    narrator.say(
        "Trainyard's loop on real data: will a flight that leaves New York arrive more than 15 minutes late?\n"
        f"{len(plan.months)} months of 2013, {plan.rows:,} flights each, drawn with TRAINYARD_DEMO_SEED={plan.seed}.\n"
        "Each month predictions are asked first; then the rows arrive, by HTTP or as a file in the bucket, and the\n"
        "true outcomes come back; a model is trained without being told, and serves if it passes the gate.\n"
        f"This takes about a minute{ending}.\n"
    )


def _tell(
    plan: Plan, building: Future[Flights], stage: Stage, narrator: Narrator, clock: Clock, *, as_json: bool
) -> None:
    flights = building.result(timeout=_BUILD_SECONDS)
    narrator.step(
        f"{len(flights):,} flights with what was known two hours before departure; "
        f"{flights.left_out:,} that were cancelled or diverted have no arrival delay and are left out"
    )
    with Client(stage.url, stage.key, clock=clock) as client:
        story = Story(plan, flights, User(client, stage, clock), narrator)
        chapters = story.tell()
        narrator.chapter("Now you")
        narrator.say(f"console   {stage.console}")
        narrator.say(f"commands  {stage.command} versions {MODEL} --gate")
        narrator.say(f"\n{story.curl()}")
    if as_json:
        sys.stdout.write(json.dumps(as_data(chapters), indent=2) + "\n")
        sys.stdout.flush()
