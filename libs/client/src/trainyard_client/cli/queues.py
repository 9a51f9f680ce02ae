"""`trainyard queue …`: what waits, what died and why, and sending it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from trainyard_client.cli.frame import command

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output
    from trainyard_client.client import Client

_QUEUES = ("training", "arrived", "objects", "predictions", "batch")
#: Causes of dead letters behind which work waits, and those behind which none does.
_LOST_WORK = frozenset({"request_open", "refused"})
_NO_WORK = frozenset({"unreadable", "request_settled"})
_NO_WORK_ADVICE = (
    "letters that nobody can read, or whose request has ended, are no lost work, and sending them back helps nothing:"
    " find who writes what cannot be read; they leave by themselves 14 days after they were first sent. To drop them at"
    " once, purge trainyard-{queue}-dlq (or what {setting} names, with -dlq) with: aws sqs purge-queue --queue-url URL;"
    " that drops every other dead letter of {queue} too"
)


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""
    queues = click.Group("queue", help="The queues between the services, and their dead letters.")
    root.add_command(queues)

    def show(output: Output, client: Client) -> None:
        """Show what waits in each queue, and how many of its messages are dead."""
        found = client.queues()
        if not output.data(found):
            columns = ("name", "visible", "in_flight", "delayed", "dead", "oldest_seconds")
            output.table(found, columns, empty="no queues")
            for queue in found:
                if queue.get("dead"):
                    name = queue["name"]
                    output.note(
                        f"{queue['dead']} messages of {name} are dead; see why with: trainyard queue dlq {name}"
                    )

    @click.argument("queue", type=click.Choice(_QUEUES), default="training")
    @click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Show at most so many.")
    def dlq(output: Output, client: Client, queue: str, limit: int) -> None:
        """Show the dead letters of QUEUE (training when left out) and why they are dead; they stay where they are."""
        found = client.dead_letters(queue, limit)
        if output.data(found):
            return
        rows = [{**letter, "request": _request(letter.get("request"))} for letter in found]
        columns = ("message_id", "type", "sent_at", "receive_count", "cause", "request", "preview")
        output.table(rows, columns, empty=f"no dead letters: every message of {queue} found its reader")
        for words in dict.fromkeys(letter["words"] for letter in found):
            output.say(words)
        causes = {letter["cause"] for letter in found}
        if causes & _LOST_WORK:
            output.note(f"when the cause is mended, send them back with: trainyard queue redrive {queue}")
        if causes & _NO_WORK:
            output.note(_NO_WORK_ADVICE.format(queue=queue, setting=f"TRAINYARD_QUEUE_{queue.upper()}"))

    @click.argument("queue", type=click.Choice(_QUEUES), default="training")
    @click.option("--limit", type=click.IntRange(1, 500), help="Send back at most so many. By default all.")
    def redrive(output: Output, client: Client, queue: str, limit: int | None) -> None:
        """Send the dead letters of QUEUE (training when left out) back to it.

        A letter about a request that has ended is dropped by the trainer that gets it.
        """
        done = client.redrive(queue, limit)
        if output.data(done):
            return
        if done["background"]:
            output.say(f"the dead letters of {queue} are on their way back; look with: trainyard queue show")
            return
        output.say(f"{done['moved']} dead letters are back in {queue}, {done['left']} are left")
        if done["kept"]:
            output.say(f"{done['kept']} stay dead: the queue does not take them")

    command(queues, "show", example="trainyard queue show")(show)
    command(queues, "dlq", example="trainyard queue dlq training --limit 5")(dlq)
    command(queues, "redrive", example="trainyard queue redrive training")(redrive)


def _request(about: dict[str, str] | None) -> str:
    return "–" if about is None else f"{about['id']} of {about['model']}: {about['state']}"
