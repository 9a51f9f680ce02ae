"""What a process knows of each target, which pointers it believes, and what it lets go of when memory is short."""

from __future__ import annotations

from trainyard.alias_object import VERSION_ALIAS, decode_alias
from trainyard.frozen import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainyard.alias_object import AliasObject
    from trainyard_predictor.domain import Target
    from trainyard_predictor.use_cases import Served

#: After how long an artifact that was refused is read once more: somebody may have repaired it.
RETRY_SECONDS = 30.0


@dataclass
class Entry:
    """What is known about one target. ``seen`` is the etag of the last pointer that was judged, good or bad.

    ``beside`` marks one that is followed because its model's champion is asked, not because it was asked itself.
    """

    served: Served | None = None
    pointer: AliasObject | None = None
    seen: str | None = None
    refused: str | None = None
    retry_at: float | None = None
    missing_since: float | None = None
    checked_at: float = 0.0
    used_at: float = 0.0
    beside: bool = False


@dataclass(frozen=True)
class Standing:
    """Where one target stands: what answers (None: nothing yet), since which move, and why a newer one was refused."""

    target: Target
    served: Served | None
    seq: int | None
    refused: str | None


def sound_pointer(data: bytes, target: Target, last: AliasObject | None) -> AliasObject:
    """Read a pointer object; ValueError when it is not the target's, or older than the one that was followed last."""
    pointer = decode_alias(data)
    if pointer.model != target.model or pointer.alias != (target.alias or VERSION_ALIAS):
        raise ValueError(f"the object of {target} is that of {pointer.model}@{pointer.alias}")
    if target.version is not None and pointer.version != target.version:
        raise ValueError(f"the object of {target} names version {pointer.version}")
    if last is not None and pointer.seq < last.seq:
        raise ValueError(f"{target} went back from seq {last.seq} to {pointer.seq}")
    if last is not None and pointer.seq == last.seq and pointer.sha256 != last.sha256:
        raise ValueError(f"{target} moved without a new seq ({pointer.seq})")
    return pointer


def make_room(entries: Sequence[Entry], keep: Entry, *, most_bytes: int, now: float) -> None:
    """Let go of models until the rest fits: first those that nobody asked for, then the least recently asked.

    ``keep`` stays, unless it was not asked for either. The store still has what is let go of.
    """
    held = [entry for entry in entries if entry.served is not None and (entry is not keep or keep.beside)]
    held.sort(key=lambda entry: (not entry.beside, entry.used_at))
    sizes = {entry.served.sha256: entry.served.size for entry in [*held, keep] if entry.served}
    while held and sum(sizes.values()) > most_bytes:
        out = held.pop(0)
        gone, out.served = out.served, None
        if out.beside:  # nobody who asks will read it again; after a while there may be room
            out.seen, out.checked_at = None, now + RETRY_SECONDS
        still = {entry.served.sha256 for entry in [*held, keep] if entry.served}
        if gone is not None and gone.sha256 not in still:
            del sizes[gone.sha256]
