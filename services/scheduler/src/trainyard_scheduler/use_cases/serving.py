"""Which predictor processes answer with which version, as they say themselves (:mod:`trainyard.serving_object`)."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from trainyard import logs
from trainyard.contracts.blobs import BlobMissingError
from trainyard.serving_object import GONE_SECONDS, PREFIX, decode_serving, place_of

if TYPE_CHECKING:
    from datetime import datetime

    from trainyard.contracts.blobs import BlobStore

    Json = dict[str, Any]

#: Notices that one answer reads: the rest is left out, and the answer says nothing of it.
MOST = 200
#: When the notice of a process that was killed is removed.
FORGET_SECONDS = 3_600.0
_log = logs.get(__name__)


def serving(blobs: BlobStore, now: datetime, model: str | None = None) -> list[Json]:
    """Return what each living process answers to aliases and versions, by environment and process.

    Args:
        blobs: where they say it.
        now: of a clock that agrees with the store's within a few seconds.
        model: the one that is asked for; None: all.

    Raises:
        TransientError: the store does not answer.
    """
    infos = [info for info in blobs.list(PREFIX) if (now - info.modified_at).total_seconds() < GONE_SECONDS]
    found = []
    for info in sorted(infos, key=lambda info: info.modified_at)[-MOST:]:
        place = place_of(info.key)
        if place is None:
            continue
        try:
            told = decode_serving(blobs.get(info.key).data)
        except BlobMissingError:  # it has ended since
            continue
        except ValueError as e:
            _log.warning("serving.unreadable", key=info.key, reason=str(e))
            continue
        who = {"environment": place[0], "process": place[1], "at": info.modified_at.isoformat()}
        found += [{**who, **asdict(one)} for one in told if model in {None, one.model}]
    return sorted(found, key=lambda one: (one["environment"], one["process"], one["model"], one["asked"]))


def forget_gone(blobs: BlobStore, now: datetime) -> int:
    """Remove the notices of processes that were killed long ago; return how many."""
    gone = [info.key for info in blobs.list(PREFIX) if (now - info.modified_at).total_seconds() > FORGET_SECONDS]
    for key in gone:
        blobs.delete(key)
    return len(gone)
