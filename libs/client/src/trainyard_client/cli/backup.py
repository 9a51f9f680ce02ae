"""`trainyard backup` and `restore`: a whole stack as one file.

They work on the stack's own database and bucket, not through its services: on the local stack of the data directory, or
on those that TRAINYARD_DATABASE_URL and AWS_ENDPOINT_URL name.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from trainyard.backup_file import BackupError
from trainyard.errors import TransientError
from trainyard_client.cli import completing
from trainyard_client.cli.exits import Exit
from trainyard_client.cli.frame import CommandError, Settings, command
from trainyard_client.cli.stack import imported, local_stack, stack_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress

    from trainyard_client.cli.output import Output

_COPY_BYTES = 1 << 20
_EXTRAS = "trainyard[aws,postgres]"


def add_to(root: click.Group) -> None:
    """Add the commands of this module."""

    @click.argument("file", shell_complete=completing.files)
    def backup(output: Output, settings: Settings, *, file: str) -> None:
        """Write the whole stack into FILE, while it works; `-` is standard output.

        The file holds rows, models, predictions, their history and the first API keys: keep it as safe as the stack.
        """
        tool = imported("trainyard.adapters.backup", _EXTRAS)
        found: list[Any] = []
        with _written(file) as target, output.progress(bytes_=True) as shown:
            _on_stack(settings, lambda stack: found.append(tool.take(stack, target, _Bars(shown))), change=False)
        (taken,) = found
        for key, why in taken.missing.items():
            output.note(f"not in the backup: {key} ({why})")
        if file != "-" and not output.data({"file": file, **_described(taken.about), "missing": dict(taken.missing)}):
            output.say(f"{file}: {_sentence(taken.about)}, {taken.database_bytes:,} bytes of database")

    @click.argument("file", shell_complete=completing.files)
    @click.option("--replace", is_flag=True, help="Lose everything of Trainyard's that is in the database now.")
    @click.option("--check", is_flag=True, help="Only read FILE to its end, and say what it is.")
    def restore(output: Output, settings: Settings, *, file: str, replace: bool, check: bool) -> None:
        """Restore FILE, which `trainyard backup` wrote, into an empty stack that does not run; `-` is standard input.

        A damaged file is refused before anything is touched. Interrupted, the same command again ends the work.
        """
        tool = imported("trainyard.adapters.backup", _EXTRAS)
        found: list[Any] = []
        with _read(file) as source, output.progress(bytes_=True) as shown:
            bars = _Bars(shown)
            if check:
                with _backup_errors():
                    about, missing = tool.verify(source, bars)
                if not output.data({"file": file, **_described(about), "missing": dict(missing)}):
                    output.say(f"{file} is whole: {_sentence(about)}")
                return
            _on_stack(
                settings, lambda stack: found.append(tool.restore(stack, source, bars, replace=replace)), change=True
            )
        (done,) = found
        for key, why in done.missing.items():
            output.note(f"was not in the backup: {key} ({why})")
        if output.data({"restored": _described(done.about), "keys": list(done.keys), "again": done.again}):
            return
        if done.again:
            output.say(f"it was restored here before, and is left as it is: {_sentence(done.about)}")
            output.say("to go back to it, losing what came since, add --replace")
            return
        output.say(f"restored: {_sentence(done.about)}")
        output.say("the first API keys are those of the backup" if done.keys else "no key file was restored")

    command(root, "backup", example="trainyard backup monday.trainyard", api=False, local=True)(backup)
    command(root, "restore", example="trainyard restore monday.trainyard", api=False, local=True)(restore)


class _Bars:
    """A bar for each step."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown
        self._tasks: dict[str, Any] = {}

    def __call__(self, step: str, size: int) -> None:
        if step not in self._tasks:
            self._tasks[step] = self._shown.add_task(step, total=None, said="")
        self._shown.advance(self._tasks[step], size)


def _on_stack(settings: Settings, work: Callable[[Any], object], *, change: bool) -> None:
    """Call ``work`` with the stack that the settings name."""
    if settings.config.database_url is not None:
        tool = imported("trainyard.adapters.backup", _EXTRAS)
        with _backup_errors(), tool.opened(settings.config) as stack:
            work(stack)
        return
    local = local_stack()
    state = imported("trainyard_embedded.state", "trainyard-embedded")
    with stack_errors(local), _backup_errors():
        (state.change if change else state.read)(settings.config, settings.environ, work)


@contextmanager
def _backup_errors() -> Iterator[None]:
    try:
        yield
    except BackupError as e:
        raise CommandError(str(e), Exit.REFUSED) from e
    except TransientError as e:
        raise CommandError(str(e), Exit.UNREACHABLE) from e


@contextmanager
def _written(file: str) -> Iterator[IO[bytes]]:
    """Open the file to write; one that was begun and not ended does not stay."""
    if file == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    if path.exists():
        raise CommandError(f"{file} exists; choose another name", Exit.USAGE)
    fresh = path.with_name(f".{path.name}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        fresh.replace(path)
    except OSError as e:
        raise CommandError(f"{file} cannot be written: {e.strerror}", Exit.USAGE) from e
    finally:
        fresh.unlink(missing_ok=True)


@contextmanager
def _read(file: str) -> Iterator[IO[bytes]]:
    """Open the file to read; standard input is copied, for it is read twice."""
    if file != "-":
        try:
            source = Path(file).open("rb")  # noqa: SIM115 - closed below
        except OSError as e:
            raise CommandError(f"{file} cannot be read: {e.strerror}", Exit.USAGE) from e
        with source:
            yield source
        return
    with tempfile.TemporaryFile() as copy:
        while piece := sys.stdin.buffer.read(_COPY_BYTES):
            copy.write(piece)
        copy.seek(0)
        yield copy


def _described(about: Any) -> dict[str, Any]:
    return {
        "id": about.id,
        "release": about.release,
        "revision": about.revision,
        "created_at": about.created_at,
        "objects": about.objects,
        "object_bytes": about.object_bytes,
    }


def _sentence(about: Any) -> str:
    when = about.created_at[:19].replace("T", " ")
    return f"release {about.release}, {when} UTC, {about.objects:,} objects of {about.object_bytes:,} bytes"
