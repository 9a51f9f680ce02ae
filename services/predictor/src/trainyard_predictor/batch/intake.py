"""Making jobs: of an object that is there, of a body that is being sent, of a file that was dropped into the bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainyard import logs
from trainyard.errors import ServiceError
from trainyard.frozen import dataclass, replace
from trainyard_predictor import domain
from trainyard_predictor.batch.body import store_body
from trainyard_predictor.batch.job import CSV, DROPPED, FAILED, NDJSON, Job, new_id
from trainyard_predictor.batch.jobs import IN, UPLOADS, Jobs, Origin

if TYPE_CHECKING:
    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobInfo
    from trainyard.contracts.part_store import PartStore
    from trainyard_predictor.exchange import Readable
    from trainyard_predictor.use_cases import Models

_PACKED = ".gz"
_FORMS = {".csv": CSV, ".ndjson": NDJSON, ".jsonl": NDJSON}
_TYPES = {"text/csv": CSV, "application/x-ndjson": NDJSON}
MEDIA_TYPES = tuple(_TYPES)
_MAX_NAME_CHARS = 80
_log = logs.get(__name__)


@dataclass(frozen=True)
class Wish:
    """Who wants what scored, and how much of it logged; ``word``: the Idempotency-Key."""

    target: domain.Target
    key_id: str
    trace_id: str
    log_share: float
    word: str | None = None


class Intake:
    """Makes jobs.

    Args:
        most_bytes: largest input, as it lies in the store.
        log_share: the share of rows that is logged where nobody says otherwise.
    """

    def __init__(
        self, jobs: Jobs, blobs: PartStore, models: Models, clock: Clock, *, most_bytes: int, log_share: float
    ) -> None:
        self._jobs = jobs
        self._blobs = blobs
        self._models = models
        self._clock = clock
        self._most_bytes = most_bytes
        self.log_share = log_share

    def reference(self, wish: Wish, key: str) -> Job:
        """Make a job of an object under IN.

        Raises:
            ServiceError: ``bad_request`` or ``not_found`` for the object, ``unsupported_media`` for its name,
                ``too_large``, ``key_reused``, or what is wrong with the model.
        """
        if not key.startswith(IN) or len(key) > len(IN) + 900 or not key.isprintable():
            raise ServiceError("bad_request", f"input must be the key of an object under {IN}")
        origin = self._origin(wish, key)
        known = self._jobs.known(origin) if origin else None
        if known is not None:
            return known
        info = next((info for info in self._blobs.list(key) if info.key == key), None)
        if info is None:
            raise ServiceError("not_found", f"there is no object {key!r}; put the file there first, or send it")
        form, packed = _form_of(key)
        job = self._job(wish, key, info.etag, info.size, form=form, packed=packed)
        return self._jobs.create(job, origin)

    def body(self, wish: Wish, first: bytes, rest: Readable | None, *, kind: str, packed: bool, name: str) -> Job:
        """Make a job of a body, which is stored while it comes.

        Args:
            first: its beginning, all of it where there is no ``rest``.
            kind: one of MEDIA_TYPES.
            name: what the file is called, for the output's name.

        Raises:
            ServiceError: ``empty_body``, ``too_large``, ``request_timeout``, ``key_reused``, or what is wrong with the
                model.
        """
        served = self._models.get(wish.target)  # before anything is stored
        ident = new_id(self._clock.now())
        key = UPLOADS + ident
        etag, size, sha256 = store_body(self._blobs, key, first, rest, most_bytes=self._most_bytes)
        form = _TYPES[kind]
        job = replace(
            self._job(wish, key, etag, size, form=form, packed=packed, version=served.version, name=name), id=ident
        )
        made = self._jobs.create(job, self._origin(wish, f"{sha256} {form} {packed}"))
        if made.source != key:  # it had been sent before
            self._blobs.delete(key)
        return made

    def dropped(self, info: BlobInfo) -> Job | None:
        """Make the job of a file that was put under IN as ``{model}/…`` or ``{model}@{alias or version}/…``.

        The same object makes one job, however often it is told of. What cannot be scored becomes a failed job. None: it
        is no file.
        """
        named, slash, rest = info.key.removeprefix(IN).partition("/")
        if not slash or not rest or rest.endswith("/"):
            return None
        origin = Origin(f"{DROPPED}\0{info.key}\0{info.etag}", info.key)
        known = self._jobs.known(origin)
        if known is not None:
            return known
        target = domain.Target(named, domain.CHAMPION, None)
        try:
            target = domain.parse_target(named)
            form, packed = _form_of(info.key)
            wish = Wish(target, DROPPED, new_id(self._clock.now()), self.log_share)
            job = self._job(wish, info.key, info.etag, info.size, form=form, packed=packed)
        except ServiceError as e:
            if e.code == "unavailable":
                raise
            _log.warning("batch.refused", source=info.key, reason=str(e))
            job = self._refused(target, info, e)
        return self._jobs.create(job, origin)

    def drops(self, key: str) -> list[BlobInfo]:
        """Return the object under a key that an event told of, if it is there."""
        return [info for info in self._blobs.list(key) if info.key == key]

    def _job(
        self,
        wish: Wish,
        key: str,
        etag: str,
        size: int,
        *,
        form: str,
        packed: bool,
        version: int | None = None,
        name: str = "",
    ) -> Job:
        if size > self._most_bytes:
            raise ServiceError("too_large", f"the input has {size:,} bytes; at most {self._most_bytes:,} are scored")
        if version is None:
            version = self._models.get(wish.target).version
        now = self._clock.now()
        return Job(
            id=new_id(now),
            model=wish.target.model,
            version=version,
            key_id=wish.key_id,
            trace_id=wish.trace_id,
            source=key,
            etag=etag,
            size=size,
            form=form,
            packed=packed,
            name=_plain(name or key.rpartition("/")[2]),
            log_share=wish.log_share,
            created_at=now.timestamp(),
        )

    def _refused(self, target: domain.Target, info: BlobInfo, error: ServiceError) -> Job:
        now = self._clock.now()
        return Job(
            id=new_id(now), model=target.model[:48], version=0, key_id=DROPPED, trace_id="", source=info.key,
            etag=info.etag, size=info.size, form=CSV, packed=False, name=_plain(info.key.rpartition("/")[2]),
            log_share=0.0, created_at=now.timestamp(), state=FAILED, finished_at=now.timestamp(),
            error_code=error.code, error_message=error.message,
        )  # fmt: skip

    @staticmethod
    def _origin(wish: Wish, content: str) -> Origin | None:
        if wish.word is None:
            return None
        return Origin(f"{wish.key_id}\0{wish.word}", f"{wish.target} {wish.log_share} {content}")


def _form_of(key: str) -> tuple[str, bool]:
    """Return a file's format by the ending of its name, and whether it is packed by gzip."""
    name = key.lower()
    plain = name.removesuffix(_PACKED)
    for ending, form in _FORMS.items():
        if plain.endswith(ending):
            return form, plain != name
    if plain.endswith(".parquet"):
        raise ServiceError(
            "unsupported_media",
            "Parquet is not scored in batches, which know numpy alone: write the file as CSV or NDJSON, packed by gzip "
            "where it is large",
        )
    raise ServiceError("unsupported_media", f"a file's name must end in {', '.join(_FORMS)}, with or without {_PACKED}")


def _plain(name: str) -> str:
    """Return a file's name without endings, of characters that are plain in any key."""
    lower = name.lower().removesuffix(_PACKED)
    ending = next((ending for ending in _FORMS if lower.endswith(ending)), "")
    stem = name[: len(lower) - len(ending)]
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in stem)[:_MAX_NAME_CHARS] or "rows"
