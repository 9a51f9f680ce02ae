"""What a shell offers behind a word: names of files, of environments, and of what the stack has, when that is cheap.

A shell waits for the answer with every press of the key, so the stack is asked once and briefly, and one that is
reached through AWS is not asked at all. Whatever goes wrong, there is nothing to offer, and nothing is said.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from click.shell_completion import CompletionItem

from trainyard.errors import TrainyardError
from trainyard_client import reaching
from trainyard_client.client import Client
from trainyard_client.environments import LOCAL, Environments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click

    from trainyard_client.cli.frame import Settings

    Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_SECONDS = 1.0
_MOST = 200


def files(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Leave it to the shell: it knows its files."""
    return [CompletionItem(begun, type="file")]


def nothing(_context: click.Context, _parameter: click.Parameter, _begun: str) -> list[CompletionItem]:
    """Offer nothing: what stands here is new, or an id that nobody types."""
    return []


def environments(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Offer the environments of ``trainyard env``."""
    settings: Settings = context.obj
    try:
        known = Environments(settings.config.config_dir).all()
    except TrainyardError:
        known = {}
    return _beginning(begun, [LOCAL, *sorted(known)])


def _asking(path: str, field: str) -> Completer:
    """Return what asks the stack that the command line so far is about for a page, and offers one field of it."""

    def offer(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        settings: Settings = context.obj
        given: dict[str, Any] = context.params
        wanted = reaching.Wanted(given.get("url"), given.get("api_key"), context.find_root().params.get("env"))
        try:
            environment = reaching.environment_of(settings.config, wanted)
            if environment is not None and (environment.url is None or environment.key_parameter is not None):
                return []
            with reaching.reached(settings.config, settings.environ, wanted) as found:
                client = Client(found.url, found.key, timeout=_SECONDS, attempts=1)
                return _beginning(begun, [one[field] for one in client.page(path.format(**given), limit=_MOST)])
        except (TrainyardError, KeyError):
            return []

    return offer


def _beginning(begun: str, names: Iterable[object]) -> list[CompletionItem]:
    return [CompletionItem(str(name)) for name in names if str(name).startswith(begun)]


models = _asking("/v1/models", "name")
datasets = _asking("/v1/datasets", "name")
#: Of the model in front.
versions = _asking("/v1/models/{name}/versions", "version")
aliases = _asking("/v1/models/{name}/aliases", "name")
#: The newest ones.
runs = _asking("/v1/runs", "id")
requests = _asking("/v1/requests", "id")
