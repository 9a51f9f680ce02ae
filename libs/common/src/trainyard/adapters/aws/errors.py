"""From botocore's exceptions to ours: no other module lets one pass to its callers."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)
from urllib3.exceptions import HTTPError

from trainyard.errors import ConfigError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Answer = TypeVar("_Answer")

#: The codes by which AWS and the emulators say that something `ensure()` makes is not there.
MISSING = frozenset(
    {
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "NoSuchBucket",
        "InvalidLaunchTemplateId.NotFound",
        "InvalidLaunchTemplateId.NotFoundException",
        "InvalidLaunchTemplateName.NotFound",
        "InvalidLaunchTemplateName.NotFoundException",
    }
)


def code_of(error: ClientError) -> str:
    """Return AWS's code of ``error``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def status_of(error: ClientError) -> int:
    """Return the HTTP status of ``error``; 0 when there is none."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what botocore raises inside the block into our errors; ``action`` says what was attempted.

    Raises:
        ConfigError: no credentials or no region: no retry will help.
        ValueError: the request was never sent because an argument is impossible.
        TransientError: everything else, with AWS's own words.
    """
    try:
        yield
    except ClientError as e:
        detail: dict[str, Any] = e.response.get("Error", {})
        raise TransientError(f"{action}: {code_of(e)}: {detail.get('Message', '')}") from e
    except (NoCredentialsError, PartialCredentialsError, NoRegionError) as e:
        raise ConfigError(f"{action}: {e}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or give a role") from e
    except ParamValidationError as e:
        raise ValueError(f"{action}: {e}") from e
    except (BotoCoreError, HTTPError) as e:
        raise TransientError(f"{action}: {e}") from e


def repaired(call: Callable[[], _Answer], on_missing: Callable[[], None] | None) -> _Answer:
    """Return ``call()``; when AWS says that something is missing, make it with ``on_missing`` and call once more."""
    try:
        return call()
    except ClientError as e:
        if on_missing is None or code_of(e) not in MISSING:
            raise
    on_missing()
    return call()
