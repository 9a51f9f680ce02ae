"""I4: every alias leads to an artifact that works. I7: the objects on S3 are those that the database knows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from trainyard.alias_object import (
    AliasObject,
    alias_key,
    decode_alias,
    encode_alias,
    model_key,
    model_of,
    version_key,
    version_object,
)
from trainyard.contracts.blobs import BlobMissingError
from trainyard.errors import TrainyardError, TransientError
from trainyard.model import decode, self_test

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from trainyard.contracts.blobs import BlobInfo, BlobStore
    from trainyard.contracts.registry import PublishedAlias
    from trainyard.doctor.evidence import Database, StandingAlias, StoredVersion
    from trainyard.doctor.report import Findings

#: A moved alias's object is written within 2 s; while the scheduler starts again, a little later.
PUBLISHED_WITHIN_SECONDS = 5.0
#: The scheduler's sweeper removes an unreferenced artifact after a day and an hour (clocks differ), and comes by every
#: few minutes.
SWEPT_AFTER_SECONDS = 26 * 3600.0
_MEND_ARTIFACT = (
    "Put the file back under the same key from a backup of the bucket. If there is none, this version cannot serve"
    " again: point the alias at a sound one with `trainyard alias set MODEL ALIAS VERSION`, or train a new one with"
    " `trainyard train MODEL` first. Until then the alias is named here."
)
_MEND_BAD_MODEL = (
    "The file is the one that was registered, so no backup helps: point the alias at a sound version with `trainyard"
    " alias set MODEL ALIAS VERSION`, or train a new one with `trainyard train MODEL` first."
)
_MEND_OBJECT = (
    "The scheduler writes it anew within 2 s: is it running, and may it write to the bucket? Its log says"
    " what S3 answers."
)
_MEND_SWEEP = "The scheduler removes it: is it running, and may it delete from the bucket?"
_MEND_STRANGER = "It is none of Trainyard's artifacts: find out who put it there, and remove it by hand."
_MEND_LOST = (
    "Put the object back under the same key from a backup of the bucket. If there is none, this version cannot serve"
    " again: point its aliases at a sound one with `trainyard alias set MODEL ALIAS VERSION`, or train a new one with"
    " `trainyard train MODEL` first. Neither brings this version back: it is named here until its object is, or until"
    " its model is deleted with `trainyard model delete MODEL`."
)


def aliases_work(findings: Findings, database: Database, blobs: BlobStore, most: int | None) -> None:
    """Read, decode and try the artifact of every alias, and compare the alias objects."""
    standing = sorted(database.aliases(), key=_urgency)
    tried: dict[tuple[str, str, int], tuple[str, str] | None] = {}
    for alias in (entry.published for entry in standing):
        file = (alias.key, alias.sha256, alias.size)
        if file not in tried and (most is None or len(tried) < most):
            tried[file] = _artifact_problem(blobs, alias)
        problem = tried.get(file)
        if problem is not None:
            sentence, mend = problem
            findings.problem(f"{_name(alias)}: {sentence}", mend)
    untried = len({(e.published.key, e.published.sha256, e.published.size) for e in standing}) - len(tried)
    if untried:
        findings.note(f"loaded {len(tried):,} artifacts, champions' first; {untried:,} more were not loaded")
    differing = {(a.model, a.alias) for a in (e.published for e in standing) if _object_problem(blobs, a) is not None}
    if differing:
        _look_again(findings, database, blobs, differing)


def _urgency(standing: StandingAlias) -> tuple[bool, str, str]:
    alias = standing.published
    return alias.alias != "champion", alias.model, alias.alias


def _look_again(findings: Findings, database: Database, blobs: BlobStore, differing: set[tuple[str, str]]) -> None:
    """Look again at aliases whose object differed: one that was moved just now is being published."""
    for standing in database.aliases():
        alias = standing.published
        if (alias.model, alias.alias) in differing and standing.moved_seconds_ago >= PUBLISHED_WITHIN_SECONDS:
            problem = _object_problem(blobs, alias)
            if problem is not None:
                findings.problem(f"{_name(alias)}: {problem}", _MEND_OBJECT)


def _artifact_problem(blobs: BlobStore, alias: PublishedAlias) -> tuple[str, str] | None:
    """Return what is wrong with the alias's artifact, and what helps; None when it is sound."""
    try:
        data = blobs.get(alias.key).data
    except BlobMissingError:
        return f"there is no object {alias.key}", _MEND_ARTIFACT
    if len(data) != alias.size or hashlib.sha256(data).hexdigest() != alias.sha256:
        return f"{alias.key} is not the file that was registered: {len(data):,} bytes, another hash", _MEND_ARTIFACT
    try:
        model = decode(data)
        self_test(model)
    except TransientError:
        raise
    except TrainyardError as e:
        return f"{alias.key} does not load or does not predict as it did: {e}", _MEND_BAD_MODEL
    return None if model.name == alias.model else (f"{alias.key} is a model called {model.name}", _MEND_BAD_MODEL)


def _object_problem(blobs: BlobStore, alias: PublishedAlias) -> str | None:
    key = alias_key(alias.model, alias.alias)
    wanted = _alias_object(alias)
    try:
        found = decode_alias(blobs.get(key).data)
    except BlobMissingError:
        return f"there is no object {key}"
    except ValueError as e:
        return f"{key} cannot be read: {e}"
    if found == wanted:
        return None
    return f"{key} says version {found.version}, seq {found.seq}; the database says {wanted.version}, {wanted.seq}"


def _alias_object(alias: PublishedAlias) -> AliasObject:
    return AliasObject(
        alias.model, alias.alias, alias.version, alias.key, alias.sha256, alias.size, alias.weight, alias.seq
    )


def _name(alias: PublishedAlias) -> str:
    return f"alias {alias.alias} of model {alias.model} (version {alias.version})"


def objects_are_known(
    findings: Findings, database: Database, blobs: BlobStore, pause: Callable[[], None], most: int | None
) -> None:
    """Compare the bucket's listing with the versions; ``pause`` before what differs is looked at a second time."""
    # The listing comes first: a version that is made meanwhile finds its object only in the second look.
    stored = list(blobs.list("models/"))
    now = database.now()
    versions = database.stored_versions()
    _versions_have_objects(findings, blobs, versions, {info.key: info.size for info in stored})
    _store_forgot(findings, database)
    _objects_have_versions(findings, database, stored, {version.key for version in versions}, now)
    differing = _unpublished(database, blobs, None)
    if differing:
        pause()
        differing = _unpublished(database, blobs, differing)
        for number, (key, said) in enumerate(sorted(differing.items())):
            if most is not None and number >= most:
                findings.more(len(differing) - number)
                break
            findings.problem(f"{key} {said}", _MEND_OBJECT)


def _versions_have_objects(
    findings: Findings, blobs: BlobStore, versions: Sequence[StoredVersion], sizes: Mapping[str, int]
) -> None:
    lost = 0
    for version in versions:
        if version.deleted:
            continue  # nothing leads to it any more
        name = f"version {version.version} of model {version.model}"
        if version.lost:
            lost += 1
        elif version.key not in sizes:
            if not _exists(blobs, version.key):  # it may have come after the listing
                findings.problem(f"{name}: there is no object {version.key}", _MEND_LOST)
        elif sizes[version.key] != version.size:
            findings.problem(
                f"{name}: {version.key} has {sizes[version.key]:,} bytes, registered were {version.size:,}", _MEND_LOST
            )
    if lost:
        findings.note(f"{lost:,} versions without a copy went with what the store held; none of them can serve again")


def _store_forgot(findings: Findings, database: Database) -> None:
    """Tell of each time that the store came back without what it held, and of copies that are missing."""
    for life in database.store_lives():
        if not life.first:
            findings.note(
                f"on {life.found_at:%Y-%m-%d at %H:%M:%S} UTC the object store had lost what it held:"
                f" {life.restored:,} artifacts were put back from copies, {life.lost:,} versions had none,"
                f" {life.lost_extracts:,} lost their extract; files in landing/ that nobody had ingested, and what"
                " functions had put there or on a queue and no worker had taken, are gone"
            )
    copied, live = database.copies()
    if 0 < copied < live:
        findings.note(f"{live - copied:,} of {live:,} live artifacts have no copy beside the object store (yet)")


def _exists(blobs: BlobStore, key: str) -> bool:
    try:
        blobs.open(key).close()
    except BlobMissingError:
        return False
    return True


def _objects_have_versions(
    findings: Findings, database: Database, stored: Sequence[BlobInfo], known: set[str], now: datetime
) -> None:
    busy = database.open_models()
    young = kept = 0
    for info in stored:
        if info.key in known:
            continue
        model = model_of(info.key)
        age = (now - info.modified_at).total_seconds()
        if model is None:
            findings.problem(f"{info.key} is an object that no version refers to", _MEND_STRANGER)
        elif age < SWEPT_AFTER_SECONDS:
            young += 1
        elif model in busy:
            kept += 1
        else:
            findings.problem(f"{info.key} has had no version for {age / 3600:,.0f} h", _MEND_SWEEP)
    if young:
        findings.note(f"{young:,} unreferenced artifacts are younger than a day, or are about to be swept")
    if kept:
        findings.note(f"{kept:,} unreferenced artifacts stay while their models have open requests")


def _unpublished(database: Database, blobs: BlobStore, only: Mapping[str, str] | None) -> dict[str, str]:
    """Return what is wrong with published objects, by key; ``only`` these keys.

    Etags of small objects are MD5 sums of their bytes unless the bucket is encrypted with keys of its own: an etag that
    differs is a reason to read, no more.
    """
    models, versions = database.published()
    wanted = {model_key(name): b"" for name in models}
    for v in versions:
        wanted[version_key(v.model, v.version)] = encode_alias(version_object(v.model, v.version, v.sha256, v.size))
    aliases = {alias_key(e.published.model, e.published.alias) for e in database.aliases()}
    found = {info.key: info for prefix in ("aliases/", "catalogue/", "versions/") for info in blobs.list(prefix)}
    wrong = dict.fromkeys(found.keys() - wanted.keys() - aliases, "is an object of something that does not exist")
    for key, data in wanted.items():
        if key not in found:
            wrong[key] = "is missing"
        elif (only is None or key in only) and not _holds(blobs, found[key], data):
            wrong[key] = "is not what the database says"
    return wrong if only is None else {key: said for key, said in wrong.items() if key in only}


def _holds(blobs: BlobStore, info: BlobInfo, data: bytes) -> bool:
    if info.etag == hashlib.md5(data, usedforsecurity=False).hexdigest():
        return True
    try:
        return info.size == len(data) and blobs.get(info.key).data == data
    except BlobMissingError:
        return False
