"""What a prediction request may be and what is kept of its answer; pure functions and values."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache

from trainyard.alias_object import is_name
from trainyard.errors import ServiceError
from trainyard.frozen import dataclass
from trainyard.prediction_blocks import pack_blocks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from trainyard.model import Prediction
    from trainyard.schema import Schema

#: The alias that answers when the request names none.
CHAMPION = "champion"
#: The alias that answers its weight's share of the requests to the champion.
CHALLENGER = "challenger"
#: The alias whose answers to its weight's share of the requests are compared with those that were given.
SHADOW = "shadow"
#: The alias of what was champion before.
PREVIOUS = "previous"
MAX_ROWS = 1_000
#: Contributions take some hundred times as long as the predictions themselves.
MAX_EXPLAINED_ROWS = 100
#: What the contributions of one request may take by the model's own estimate, in seconds of one thread.
MAX_EXPLAINING_SECONDS = 5.0
#: Longest record of one prediction, packed: with its message's frame it must fit one queue message as base64.
MAX_RECORD_BYTES = 128 * 1024
#: How msgpack begins a map of up to 15 members; their number is added.
_FIXMAP = 0x80
#: Types of columns whose clean values are not those that were sent.
_CONVERTED = frozenset({"date", "timestamp"})
_VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_MAX_IDEMPOTENCY_CHARS = 255


@dataclass(frozen=True)
class Target:
    """Which model is asked, and by which alias or version."""

    model: str
    alias: str | None
    version: int | None

    def __hash__(self) -> int:
        own = self.__dict__  # every request looks for its target in dictionaries
        found: int | None = own.get("hashed")
        if found is None:
            found = own["hashed"] = hash((self.model, self.alias, self.version))
        return found

    def __str__(self) -> str:
        return f"{self.model}@{self.alias or self.version}"


@dataclass(frozen=True)
class Query:
    """A well-formed request: its rows are still unchecked. ``sticky`` names whoever is to stay with one version."""

    target: Target
    rows: Sequence[Any]
    key_id: str | None
    trace_id: str
    idempotency_key: str | None
    explain: bool = False
    sticky: str | None = None


@lru_cache(maxsize=1_000)
def parse_target(text: str) -> Target:
    """Read ``model``, ``model@alias`` or ``model@number``.

    Raises:
        ServiceError: ``unknown_model``, ``unknown_alias`` or ``unknown_version``: nothing can bear such a name.
    """
    model, at, ref = text.partition("@")
    if not is_name(model):
        raise ServiceError("unknown_model", "no model can bear that name: a-z, 0-9 and _, at most 48, a letter first")
    if not at:
        return Target(model, CHAMPION, None)
    if _VERSION.fullmatch(ref):
        return Target(model, None, int(ref))
    if ref[:1].isdigit():
        raise ServiceError("unknown_version", "versions are whole numbers from 1, written without leading zeros")
    if not is_name(ref):
        raise ServiceError("unknown_alias", "no alias can bear that name: a-z, 0-9 and _, at most 48, a letter first")
    return Target(model, ref, None)


def parse_body(body: Any) -> tuple[list[Any], bool]:
    """Return the rows of the request's JSON body, each still unchecked, and whether they are to be explained.

    Raises:
        ServiceError: ``bad_request`` when the body is not ``{"rows": [...], "explain"?: bool}``.
    """
    if not isinstance(body, dict) or "rows" not in body or (len(body) > 1 and set(body) - {"rows", "explain"}):
        raise ServiceError("bad_request", 'the body must be {"rows": [{column: value, ...}, ...]}')
    explain = body.get("explain", False)
    if not isinstance(explain, bool):
        raise ServiceError("bad_request", "explain must be true or false")
    rows = body["rows"]
    if not isinstance(rows, list):
        raise ServiceError("bad_request", "rows must be a list of objects")
    return rows, explain


def check_count(n_rows: int, *, explain: bool = False) -> None:
    """Check that so many rows may be asked for at once.

    Raises:
        ServiceError: ``invalid_rows`` when there is no row, ``too_large`` when there are more than MAX_ROWS, or than
            MAX_EXPLAINED_ROWS to explain.
    """
    if not n_rows:
        raise ServiceError("invalid_rows", "there is no row to predict; send 1 to 1,000")
    if n_rows > MAX_ROWS:
        raise ServiceError("too_large", f"{n_rows:,} rows are too many; send at most {MAX_ROWS:,} in one request")
    if explain and n_rows > MAX_EXPLAINED_ROWS:
        raise ServiceError(
            "too_large",
            f"{n_rows:,} rows are too many to explain; send at most {MAX_EXPLAINED_ROWS} in one request",
        )


def check_explained(n_rows: int, seconds: float) -> None:
    """Check that so many rows can be explained, each of which takes about so many seconds.

    Raises:
        ServiceError: ``too_large`` with the number of rows that can be, ``cannot_explain`` when there is none.
    """
    most = min(MAX_EXPLAINED_ROWS, int(MAX_EXPLAINING_SECONDS / seconds))
    if most == 0:
        raise ServiceError(
            "cannot_explain",
            f"a row of this version takes more than {MAX_EXPLAINING_SECONDS:g} seconds to explain; train a smaller one",
        )
    if n_rows > most:
        said = f"{n_rows} rows of this version are too many to explain; send at most {most} in one request"
        raise ServiceError("too_large", said)


def check_idempotency_key(text: str | None) -> str | None:
    """Return the key as given; raises ``bad_request`` for an empty or overlong one."""
    if text is not None and not 1 <= len(text) <= _MAX_IDEMPOTENCY_CHARS:
        raise ServiceError("bad_request", f"Idempotency-Key takes 1 to {_MAX_IDEMPOTENCY_CHARS} characters")
    return text


def check_sticky(text: str | None) -> str | None:
    """Return the header ``x-trainyard-sticky`` as given; raises ``bad_request`` for an empty or overlong one."""
    if text is not None and not 1 <= len(text) <= _MAX_IDEMPOTENCY_CHARS:
        raise ServiceError("bad_request", f"x-trainyard-sticky takes 1 to {_MAX_IDEMPOTENCY_CHARS} characters")
    return text


def place_of(query: Query, purpose: str) -> float:
    """Return where a request stands in [0, 1): below an alias's weight it belongs to that alias's share.

    The place is a hash of the model, the purpose, and ``sticky`` or else the request's first row: who is in a share of
    10 % is in one of 20 % as well, and a request that is repeated is answered by the same version.
    """
    first = query.rows[0]
    own = repr(sorted(first.items()) if isinstance(first, dict) else first) if query.sticky is None else query.sticky
    text = f"{purpose}\0{query.target.model}\0{own}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def repeatable_ids(key_id: str | None, idempotency_key: str, count: int) -> list[str]:
    """Return the prediction ids of rows 1 to ``count``: the same for the same API key and Idempotency-Key."""
    common = hashlib.blake2b(f"{key_id or ''}\0{idempotency_key}\0".encode("utf-8", "surrogatepass"), digest_size=16)
    ids = []
    for number in range(1, count + 1):
        one = common.copy()
        one.update(str(number).encode())
        ids.append(f"pr_{one.hexdigest()}")
    return ids


def records(
    query: Query,
    version: int,
    ids: Sequence[str],
    outputs: Sequence[Mapping[str, Any]],
    *,
    latency_us: int,
    predicted_at: datetime,
    pack: Callable[[Any], bytes],
) -> list[bytes]:
    """Return the log records of one request, one for each row (docs/prediction-log.md), as msgpack.

    What all of them have in common is packed once, so each is put together from its parts.
    """
    common = _common(query, version, latency_us, predicted_at)
    if len(ids) == 1:
        return [pack({"id": ids[0], **common, "inputs": query.rows[0], "output": outputs[0]})]
    begin = bytes([_FIXMAP | (3 + len(common))]) + pack("id")
    middle = b"".join([pack(part) for pair in common.items() for part in pair]) + pack("inputs")
    end = pack("output")
    return [
        b"".join((begin, pack(ident), middle, pack(row), end, pack(output)))
        for ident, row, output in zip(ids, query.rows, outputs, strict=True)
    ]


def blocks(
    query: Query,
    version: int,
    ids: Sequence[str],
    inputs: Mapping[str, Any],
    outputs: Sequence[Mapping[str, Any]],
    *,
    latency_us: int,
    predicted_at: datetime,
    pack: Callable[[Any], bytes],
) -> list[bytes]:
    """Return what :func:`records` says as blocks of many rows (docs/prediction-log.md); ``inputs`` by column."""
    output: dict[str, Any] = {"prediction": [one["prediction"] for one in outputs]}
    if "probabilities" in outputs[0]:
        chances = [one["probabilities"] for one in outputs]
        output["probabilities"] = {label: [one[label] for one in chances] for label in chances[0]}
    common = _common(query, version, latency_us, predicted_at)
    return pack_blocks(common, ids, inputs, output, most_bytes=MAX_RECORD_BYTES, pack=pack)


def sent_columns(features: Schema, rows: Sequence[Any], clean: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of rows with their values as they were sent; numbers may be arrays."""
    return {
        column.name: [row[column.name] for row in rows] if column.type in _CONVERTED else clean[column.name]
        for column in features.columns
    }


def _common(query: Query, version: int, latency_us: int, predicted_at: datetime) -> dict[str, Any]:
    """Return what all records of one request have in common."""
    return {
        "model": query.target.model,
        "version": version,
        "key_id": query.key_id,
        "trace_id": query.trace_id,
        "latency_us": latency_us,
        "predicted_at": f"{_to_the_second(int(predicted_at.timestamp()))}.{predicted_at.microsecond:06d}+00:00",
    }


@lru_cache(maxsize=8)
def _to_the_second(timestamp: int) -> str:
    """Return a moment in ISO 8601, in UTC and without saying so: most requests have the second of the one before."""
    return datetime.fromtimestamp(timestamp, UTC).isoformat()[:-6]


def output(answer: Prediction) -> dict[str, Any]:
    """Return what was predicted, as the caller sees it and the log keeps it; no probabilities in regression."""
    if answer.probabilities is None:
        return {"prediction": answer.prediction}
    return {"prediction": answer.prediction, "probabilities": answer.probabilities}
