"""``/v1/batch-jobs``: asking for jobs, looking at them, ending them, reading what they made (docs/batch.md)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from trainyard import strict_json
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import ServiceError
from trainyard_predictor import domain
from trainyard_predictor.batch.intake import MEDIA_TYPES, Wish
from trainyard_predictor.batch.job import CSV, DONE, is_id
from trainyard_predictor.exchange import MAX_BODY_BYTES, Response, check_length, check_media, json_response
from trainyard_predictor.protocols.routes import Route

if TYPE_CHECKING:
    from collections.abc import Collection

    from trainyard.contracts.part_store import PartStore
    from trainyard_predictor.batch.intake import Intake
    from trainyard_predictor.batch.job import Job
    from trainyard_predictor.batch.jobs import Jobs
    from trainyard_predictor.protocols.routes import Call

_PATH = "/v1/batch-jobs"
DEFAULT_LIMIT, MOST_LIMIT = 20, 100
#: Jobs of others that one page looks past at most.
_MOST_PASSED = 200
#: Largest piece of an output in one answer: what Lambda takes as base64, with room.
MAX_PIECE_BYTES = 4 * 1024 * 1024
_RANGE = re.compile(r"bytes=([0-9]{1,15})-([0-9]{0,15})", re.ASCII)
_NDJSON_TYPE = "application/x-ndjson"


class BatchJobs:
    """The routes."""

    def __init__(self, jobs: Jobs, intake: Intake, blobs: PartStore) -> None:
        self._jobs = jobs
        self._intake = intake
        self._blobs = blobs

    def routes(self) -> list[Route]:
        """Return every route."""
        one = f"{_PATH}/{{id}}"
        return [
            Route("GET", _PATH, "predict", self._list),
            Route("POST", _PATH, "predict", self._create, streams=True),
            Route("GET", one, "predict", lambda call: json_response(200, self._find(call).as_dict()), quiet=True),
            Route("DELETE", one, "predict", self._cancel),
            Route("GET", f"{one}/output", "predict", self._output, quiet=True),
            Route("GET", f"{one}/rejects", "predict", self._rejects, quiet=True),
        ]

    def _create(self, call: Call) -> Response:
        request = call.request
        kind = check_media(request.headers, ["application/json", *MEDIA_TYPES], ["gzip"])
        packed = request.headers.get("content-encoding", "identity").strip().lower() == "gzip"
        word = domain.check_idempotency_key(request.headers.get("idempotency-key"))
        if kind == "application/json":
            if packed:
                raise ServiceError("unsupported_media", "send the JSON without Content-Encoding")
            check_length(request)
            job = self._intake.reference(*self._reference(call, word))
        else:
            asked = _parameters(request.query, {"model", "name", "log_share"})
            wish = self._wish(call, asked.get("model"), _number(asked.get("log_share")), word)
            name = asked.get("name", "")
            if request.rest is None:
                _check_whole(call)
            job = self._intake.body(wish, request.body, request.rest, kind=kind, packed=packed, name=name)
        response = json_response(202, job.as_dict())
        response.headers["Location"] = f"{_PATH}/{job.id}"
        return response

    def _reference(self, call: Call, word: str | None) -> tuple[Wish, str]:
        body = strict_json.loads(call.request.body)
        if not isinstance(body, dict) or set(body) - {"model", "input", "log_share"} or "input" not in body:
            raise ServiceError(
                "bad_request", 'the body must be {"model": ..., "input": "batch/in/...", "log_share"?: 0}'
            )
        if not isinstance(body["input"], str):
            raise ServiceError("bad_request", "input must be the key of an object")
        return self._wish(call, body.get("model"), body.get("log_share"), word), body["input"]

    def _wish(self, call: Call, model: object, share: object, word: str | None) -> Wish:
        if not isinstance(model, str) or not model:
            raise ServiceError("bad_request", "model is missing: name it as model, model@alias or model@version")
        if share is None:
            share = self._intake.log_share
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ServiceError("bad_request", "log_share is the part of the rows to be logged, from 0 to 1")
        return Wish(domain.parse_target(model), call.key_id or "", call.trace_id, float(share), word)

    def _list(self, call: Call) -> Response:
        asked = _parameters(call.request.query, {"limit", "cursor", "model"})
        limit, cursor, model = asked.get("limit", str(DEFAULT_LIMIT)), asked.get("cursor", ""), asked.get("model")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MOST_LIMIT):
            raise ServiceError("bad_request", f"limit is a whole number from 1 to {MOST_LIMIT}")
        if "cursor" in asked and not is_id(cursor):
            raise ServiceError("bad_request", "cursor is the next_cursor of the page before")
        items: list[dict[str, Any]] = []
        next_cursor = None
        for passed, job in enumerate(self._jobs.after(cursor)):
            if len(items) == int(limit) or passed == _MOST_PASSED:
                next_cursor = cursor
                break
            cursor = job.id
            if _may(call, job, "read") and model in (None, job.model):
                items.append(job.as_dict())
        return json_response(200, {"items": items, "next_cursor": next_cursor})

    def _cancel(self, call: Call) -> Response:
        job = self._find(call)
        if not _may(call, job, "operate"):
            raise ServiceError("wrong_scope", "to end somebody else's job takes the scope 'operate'")
        if job.ended:
            raise ServiceError("conflict", f"the job is {job.state} already")
        job = self._jobs.cancel(job.id)
        if job.state == DONE:
            raise ServiceError("conflict", "the job is done already")
        return json_response(200, job.as_dict())

    def _output(self, call: Call) -> Response:
        job = self._find(call)
        kind = "text/csv; charset=utf-8" if job.form == CSV else _NDJSON_TYPE
        return self._piece(call, job, job.output_key, job.output_bytes, kind)

    def _rejects(self, call: Call) -> Response:
        job = self._find(call)
        return self._piece(call, job, job.rejects_key, job.rejects_bytes, _NDJSON_TYPE)

    def _piece(self, call: Call, job: Job, key: str, size: int, kind: str) -> Response:
        if job.state != DONE:
            raise ServiceError("conflict", f"the job is {job.state}; its output is there when it is done")
        headers = {"Content-Type": kind, "Accept-Ranges": "bytes"}
        asked = _RANGE.fullmatch(call.request.headers.get("range", ""))
        if size == 0:
            return Response(200, headers, b"")
        if asked is None and size > MAX_PIECE_BYTES:
            raise ServiceError(
                "too_large", f"the output has {size:,} bytes: ask for pieces with Range, or read {key} from the bucket"
            )
        start = int(asked[1]) if asked else 0
        if start >= size:
            raise ServiceError("bad_request", f"the output has {size:,} bytes; the range begins behind them")
        end = min(size, start + MAX_PIECE_BYTES, int(asked[2]) + 1 if asked and asked[2] else size)
        if end <= start:
            raise ServiceError("bad_request", "the range ends before it begins")
        try:
            etag = next(info.etag for info in self._blobs.list(key) if info.key == key)
            data = self._blobs.read_range(key, start, end - start, etag=etag)
        except (StopIteration, BlobMissingError):
            raise ServiceError("not_found", f"{key} is no longer there") from None
        if asked is not None:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        return Response(206 if asked else 200, headers, data)

    def _find(self, call: Call) -> Job:
        """Return the job that the path names, if the caller may know of it."""
        job_id = call.names["id"]
        unknown = ServiceError("unknown_batch_job", f"there is no batch job {job_id[:40]!r}")
        if not is_id(job_id):
            raise unknown
        job, _ = self._jobs.read(job_id)
        if not _may(call, job, "read"):
            raise unknown
        return job


def _may(call: Call, job: Job, scope: str) -> bool:
    """Tell whether the job is the caller's own, or the caller may look at, or end, those of others."""
    return job.key_id == call.key_id or (call.who is not None and call.who.may(scope))


def _parameters(query: str, known: Collection[str]) -> dict[str, str]:
    pairs = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    if set(names) - set(known) or len(set(names)) != len(names):
        raise ServiceError("bad_request", f"the parameters are {', '.join(sorted(known))}, each once at most")
    return dict(pairs)


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    return value if math.isfinite(value) else -1.0  # which is refused with the right words


def _check_whole(call: Call) -> None:
    """Refuse a body that stopped before the length it promised; raises ``request_timeout``."""
    promised = call.request.headers.get("content-length", "")
    if promised.isdigit() and len(call.request.body) < min(int(promised[:19]), MAX_BODY_BYTES):
        raise ServiceError("request_timeout", f"the body stopped after {len(call.request.body)} bytes")
