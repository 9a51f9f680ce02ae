"""Batch jobs: every row once, in order, whatever ends a worker and whenever."""

from __future__ import annotations

import csv
import gzip
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainyard.contracts.part_store import PartStore
from trainyard.errors import TransientError
from trainyard.frozen import replace
from trainyard.testing.logged import logged_records
from trainyard.testing.models import sample_model, sample_rows
from trainyard.testing.publishing import point_alias, publish_version
from trainyard_predictor.batch.job import decode, encode
from trainyard_predictor.domain import parse_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard_predictor.batch.job import Job

_WRITES = ("put", "replace", "delete", "begin_upload", "put_part", "complete_upload", "abort_upload")


def csv_of(rows: list[dict[str, Any]], **more: Callable[[int], str]) -> bytes:
    """Return rows as CSV, with further columns in front: missing cells are empty."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow([*more, *rows[0]])
    for number, row in enumerate(rows, start=1):
        cells = ["" if value is None else str(value).lower() if value is True or value is False else value
                 for value in row.values()]  # fmt: skip
        write.writerow([*(make(number) for make in more.values()), *cells])
    return out.getvalue().encode()


def read_csv(data: bytes) -> list[dict[str, str]]:
    """Return the rows of a CSV."""
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


@pytest.fixture
def rows() -> list[dict[str, Any]]:
    """Rows for `flights`; a text that is empty is missing in CSV."""
    return [{**row, "remark": row["remark"] or None} for row in sample_rows(40, seed=3)]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few records, so that there are many."""
    monkeypatch.setattr("trainyard_predictor.batch.records.CHUNK_ROWS", 7)


def expected(yard: Any, rows: list[dict[str, Any]]) -> list[tuple[Any, dict[str, float] | None]]:
    """Return what each row is answered alone."""
    predictor = yard.models.get(parse_target("flights")).predictor
    return [(one.prediction, one.probabilities) for row in rows for one in predictor.predict([row])]


def test_a_csv_comes_back_in_order_with_what_it_had(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """Each line as it was, columns that the model does not know among them, and its answer behind it."""
    sent = csv_of(rows, booking=lambda n: f"B{n}, first")
    job = batch_yard.finished(batch_yard.drop(sent))
    assert (job.state, job.good, job.bad) == ("done", 40, 0)
    lines = batch_yard.output(job).decode().splitlines()
    for before, after in zip(sent.decode().splitlines(), lines, strict=True):
        assert after.startswith(f"{before},")
    got = read_csv(batch_yard.output(job))
    for row, (prediction, probabilities) in zip(got, expected(batch_yard, rows), strict=True):
        assert row["prediction"] == str(prediction).lower()
        assert {name: float(row[f"probability_{name}"]) for name in probabilities or {}} == probabilities
        assert row["version"] == "1"
    assert len({row["prediction_id"] for row in got}) == 40
    assert job.output_parts > 3, "the test means an output of several parts"


def test_ndjson_comes_back_in_order(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """The input stands in each line as it was."""
    lines = [json.dumps({"booking": n, **row}) for n, row in enumerate(rows)]
    job = batch_yard.finished(batch_yard.drop("\r\n\r\n".join(lines).encode(), "flights@1/day.ndjson"))
    got = batch_yard.output(job).decode().splitlines()
    assert [
        one.startswith(f'{{"row":{n},"input":{line},') for n, (one, line) in enumerate(zip(got, lines, strict=True), 1)
    ]
    answers = [(one["prediction"], one["probabilities"]) for one in map(json.loads, got)]
    assert answers == expected(batch_yard, rows)


def test_packed_input_is_the_same(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """A packed file, of two streams, is scored as the plain one, also when it is taken up again in between."""
    sent = csv_of(rows)
    plain = batch_yard.finished(batch_yard.drop(sent))
    packed = batch_yard.drop(gzip.compress(sent[:900]) + gzip.compress(sent[900:]), "flights/day.csv.gz")
    while batch_yard.work.advance(packed.id, 0) != "ended":
        pass
    done = batch_yard.job(packed)
    assert done.state == "done", done.error_message

    def without_ids(job: Job) -> list[str]:
        return [line.rpartition(",")[0] for line in batch_yard.output(job).decode().splitlines()]

    assert without_ids(done) == without_ids(plain)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_stream_that_is_cut_short(batch_yard: Any, rows: list[dict[str, Any]], cut: int) -> None:
    """Half a file is not scored as if it were a whole one."""
    packed = gzip.compress(csv_of(rows))
    job = batch_yard.finished(batch_yard.drop(packed[:-cut], "flights/day.csv.gz"))
    assert (job.state, job.error_code) == ("failed", "bad_gzip")
    assert list(batch_yard.blobs.list("batch/out/")) == []


def test_bad_lines_are_set_apart(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """With line, row, what was expected and the line itself; the others are scored as if they were not there."""
    lines = csv_of(rows[:20]).splitlines(keepends=True)
    lines[3] = b"1,2\n"
    lines[5] = lines[5].replace(b",", b",many", 1)
    lines[8] = b'"never closed,1\n'
    lines[10] = b"\xff\xfe\n"
    lines[12] = b"\n"
    job = batch_yard.finished(batch_yard.drop(b"".join(lines)))
    assert (job.state, job.rows, job.good, job.bad) == ("done", 19, 15, 4)
    rejects = batch_yard.rejects(job)
    assert [(one["line"], one["row"]) for one in rejects] == [(4, 3), (6, 5), (9, 8), (11, 10)]
    assert rejects[0]["problems"] == [{"column": None, "expected": "7 cells", "got": "2 cells"}]
    assert rejects[0]["text"] == "1,2"
    assert rejects[1]["problems"][0]["column"] == "seats"
    assert "UTF-8" in rejects[3]["problems"][0]["got"]
    good = [line for n, line in enumerate(lines[1:], 1) if n not in (3, 5, 8, 10, 12)]
    got = batch_yard.output(job).splitlines()[1:]
    assert all(after.startswith(before.rstrip() + b",") for before, after in zip(good, got, strict=True))


def test_bad_lines_of_ndjson(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """What is no JSON, no object, or does not fit the model."""
    lines = [json.dumps(row).encode() for row in rows[:4]]
    bad = [b"{", b"[1]", json.dumps({**rows[0], "seats": "many"}).encode(), b'{"a":1,"a":2}', b"\xff"]
    job = batch_yard.finished(batch_yard.drop(b"\n".join([*lines, *bad]), "flights/day.jsonl"))
    assert (job.good, job.bad) == (4, 5), batch_yard.rejects(job)
    assert [one["line"] for one in batch_yard.rejects(job)] == [5, 6, 7, 8, 9]


@pytest.mark.parametrize(("sent", "bad"), [(b"seats\nmany\nfew\n", 2), (b"seats\n", 0), (b"seats", 0)])
def test_a_file_without_a_good_line_is_done(batch_yard: Any, sent: bytes, bad: int) -> None:
    """Its output is a header; what was wrong with its lines stands among the rejects."""
    job = batch_yard.finished(batch_yard.drop(sent))
    assert (job.state, job.good, job.bad) == ("done", 0, bad)
    assert batch_yard.output(job).startswith(b"seats,prediction,")
    assert batch_yard.output(job).count(b"\n") == 1
    assert [one["row"] for one in batch_yard.rejects(job)] == [*range(1, bad + 1)]


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("flights/x.csv", b"", "empty_body"),
        ("flights/x.csv", b"seats,seats\n1,2\n", "invalid_rows"),
        ("flights/x.csv", b"seats;distance\n1;2\n", "invalid_rows"),
        ("flights/x.csv", b"\xff\n", "bad_csv"),
        ("flights/x.csv", b"a" * (2 << 20), "csv_limit"),
        ("flights/x.ndjson", b"1" * (2 << 20), "json_limit"),
        ("flights/x.csv.gz", b"seats\n1\n", "bad_gzip"),
        ("flights/x.csv.gz", gzip.compress(b"seats\n" + (b"1" * 99_999 + b"\n") * 200), "bomb"),
        ("flights/x.parquet", b"PAR1", "unsupported_media"),
        ("flights/x.txt", b"x", "unsupported_media"),
        ("nobody/x.csv", b"x", "unknown_model"),
        ("flights@7/x.csv", b"x", "unknown_version"),
        ("No Model/x.csv", b"x", "unknown_model"),
    ],
)
def test_what_cannot_be_scored_becomes_a_failed_job(batch_yard: Any, name: str, data: bytes, code: str) -> None:
    """It says why, and leaves nothing behind but itself."""
    job = batch_yard.finished(batch_yard.drop(data, name))
    assert (job.state, job.error_code) == ("failed", code)
    assert list(batch_yard.blobs.list("batch/open/")) == list(batch_yard.blobs.list("batch/work/")) == []


def test_a_column_that_the_output_gets_too(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """Then all that is added bears a prefix; the input's own column stays."""
    job = batch_yard.finished(batch_yard.drop(csv_of(rows, version=lambda n: str(n * 10))))
    got = read_csv(batch_yard.output(job))
    assert [row["version"] for row in got] == [str(n * 10) for n in range(1, 41)]
    assert {row["trainyard_version"] for row in got} == {"1"}


def test_an_input_that_is_changed_meanwhile(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """No output is a mix of two files."""
    job = batch_yard.drop(csv_of(rows))
    batch_yard.blobs.put(job.source, csv_of(rows[:3]))
    done = batch_yard.finished(job)
    assert (done.state, done.error_code) == ("failed", "conflict")


def test_a_job_keeps_its_version(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """A promotion while it is under way changes nothing."""
    job = batch_yard.drop(csv_of(rows))
    assert batch_yard.work.advance(job.id, 0) == "more"
    point_alias(batch_yard.blobs, publish_version(batch_yard.blobs, sample_model(seed=2), 2), seq=2)
    batch_yard.models.refresh()
    done = batch_yard.finished(job)
    assert {row["version"] for row in read_csv(batch_yard.output(done))} == {"1"}
    assert batch_yard.finished(batch_yard.drop(csv_of(rows), "flights/next.csv")).version == 2


def test_the_share_that_is_logged(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """None by default; else those rows whose ids fall into the share, under the ids of the output, once each."""
    batch_yard.finished(batch_yard.drop(csv_of(rows), "flights/none.csv"))
    assert logged_records(batch_yard.logged) == []
    job = batch_yard.finished(batch_yard.drop(csv_of(rows), "flights/all.csv", share=1.0))
    records = logged_records(batch_yard.logged)
    assert [one["id"] for one in records] == [row["prediction_id"] for row in read_csv(batch_yard.output(job))]
    assert [one["inputs"]["seats"] for one in records] == [row["seats"] for row in rows]
    half = batch_yard.finished(batch_yard.drop(csv_of(rows), "flights/half.csv", share=0.5))
    ids = {row["prediction_id"] for row in read_csv(batch_yard.output(half))}
    some = {one["id"] for one in logged_records(batch_yard.logged)}
    assert some < ids
    assert 5 < len(some) < 35


def test_progress(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """Rows, bytes, rate and the time that is left are told at each checkpoint."""
    job = batch_yard.drop(csv_of(rows))
    assert job.as_dict()["eta_seconds"] is None
    batch_yard.work.advance(job.id, 0)
    said = replace(batch_yard.job(job), busy_seconds=2.0).as_dict()
    assert (said["state"], said["rows"], said["rows_per_second"]) == ("running", 7, 3.5)
    assert said["eta_seconds"] == pytest.approx(
        2 / said["bytes_done"] * (said["input_bytes"] - said["bytes_done"]), abs=0.1
    )
    done = batch_yard.finished(job).as_dict()
    assert done["bytes_done"] == done["input_bytes"]
    assert json.loads(batch_yard.blobs.get(batch_yard.job(job).summary_key).data)["state"] == "done"


def test_cancel(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """A job that was cancelled is worked on no more and leaves no output."""
    job = batch_yard.drop(csv_of(rows))
    for _ in range(3):
        batch_yard.work.advance(job.id, 0)
    assert batch_yard.jobs.cancel(job.id).state == "cancelled"
    assert batch_yard.work.advance(job.id, 1000) == "ended"
    assert batch_yard.job(job).state == "cancelled"
    assert batch_yard.blobs._uploads == {}
    for place in ("open", "work", "out"):
        assert list(batch_yard.blobs.list(f"batch/{place}/")) == []


class Broken(PartStore):
    """A store whose n-th write fails: before anything happens, or after it has and nobody hears of it."""

    def __init__(self, blobs: Any, nth: int, *, after: bool) -> None:
        self._blobs, self.left, self._after = blobs, nth, after

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name == "left":
            return object.__getattribute__(self, name)
        call = getattr(self._blobs, name)
        if name not in _WRITES:
            return call

        def write(*args: Any, **kwargs: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self._after:
                raise TransientError("before")
            answer = call(*args, **kwargs)
            if self.left == 0:
                raise TransientError("after")
            return answer

        return write


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("part_bytes", [600, 10**6], ids=["parts", "whole"])
def test_every_write_may_fail(
    make_batch_yard: Any, rows: list[dict[str, Any]], *, after: bool, part_bytes: int
) -> None:
    """Whichever write fails, with or without effect, the next worker goes on: the same bytes come out."""
    lines = csv_of(rows).splitlines(keepends=True)
    lines[9] = b"no row\n"
    sent = b"".join(lines)
    first = make_batch_yard(part_bytes=part_bytes)
    job = first.drop(sent)
    packed = encode(job)
    wanted = first.output(first.finished(job)), first.rejects(first.job(job))
    nth = 0
    while True:
        nth += 1
        yard = make_batch_yard(part_bytes=part_bytes)
        yard.blobs.put(job.source, sent)
        yard.blobs.put(f"batch/open/{job.id}", b"")
        yard.blobs.put(f"batch/jobs/{job.id}", packed)
        broken = yard.break_store(lambda blobs, n=nth: Broken(blobs, n, after=after))
        try:
            while yard.work.advance(job.id, 0) != "ended":
                pass
        except TransientError:
            yard.mend_store()
            yard.clock.advance(61)
            done = yard.finished(job)
        else:
            done = yard.job(job)
        assert (yard.output(done), yard.rejects(done)) == wanted, f"write {nth}"
        assert list(yard.blobs.list("batch/work/")) == list(yard.blobs.list("batch/open/")) == []
        if broken.left > 0:
            break
    assert nth > 10


def test_a_worker_that_lost_its_job(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """It sleeps past its lease, another one takes the job and ends it: the sleeper changes nothing."""
    job = batch_yard.drop(csv_of(rows))
    finished: list[Job] = []

    def asleep() -> bool:
        if not finished:
            batch_yard.clock.advance(61)
            finished.append(job)
            assert batch_yard.work.advance(job.id, 1000) == "ended"
            finished[0] = batch_yard.job(job)
        return False

    assert batch_yard.work.advance(job.id, 1000, asleep) == "held"
    assert batch_yard.job(job) == finished[0]
    assert len(read_csv(batch_yard.output(finished[0]))) == 40


def test_a_lease_keeps_others_away(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """Until it runs out."""
    job = batch_yard.drop(csv_of(rows))
    seen: list[str] = []

    def look() -> bool:
        seen.append(batch_yard.work.advance(job.id, 1000))
        return True

    assert batch_yard.work.advance(job.id, 1000, look) == "more"
    assert seen == ["held"]


def test_an_upload_that_the_store_let_go_of(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """The job begins anew, and every row is there once."""
    job = batch_yard.drop(csv_of(rows))
    for _ in range(4):
        batch_yard.work.advance(job.id, 0)
    assert batch_yard.blobs._uploads
    batch_yard.blobs._uploads.clear()
    done = batch_yard.finished(job)
    assert (done.state, done.restarts, done.good) == ("done", 1, 40)
    assert len(read_csv(batch_yard.output(done))) == 40


def test_a_job_that_ends_its_workers(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """It fails after some attempts instead of going round for ever."""
    job = batch_yard.drop(csv_of(rows))

    def die() -> bool:
        raise MemoryError

    for _ in range(5):
        with pytest.raises(MemoryError):
            batch_yard.work.advance(job.id, 1000, die)
        batch_yard.clock.advance(61)
    done = batch_yard.finished(job)
    assert (done.state, done.error_code) == ("failed", "internal")


def test_a_look_finds_what_messages_did_not_tell(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """Files without a notification, jobs without a worker, markers without a job."""
    batch_yard.blobs.put("batch/in/flights/lost.csv", csv_of(rows))
    batch_yard.blobs.put("batch/open/bj_000000000000000000000", b"")
    batch_yard.clock.advance(31)
    assert batch_yard.batch.look() == 1
    (job,) = batch_yard.jobs.after("")
    assert (job.state, job.source) == ("done", "batch/in/flights/lost.csv")
    batch_yard.clock.advance(3600)
    assert batch_yard.batch.look() == 0
    assert list(batch_yard.blobs.list("batch/open/")) == []
    assert len(list(batch_yard.jobs.after(""))) == 1


def test_a_job_of_another_release(batch_yard: Any) -> None:
    """It is left to those who can read it, and keeps nobody from the others."""
    job_id = "bj_000000000000000000000"
    batch_yard.blobs.put(f"batch/open/{job_id}", b"")
    batch_yard.blobs.put(f"batch/jobs/{job_id}", b"\x81\xa1v\x63")
    batch_yard.clock.advance(2 * 3600)
    assert batch_yard.batch.look() == 0
    assert batch_yard.work.advance(job_id, 10) == "ended"
    assert list(batch_yard.jobs.after("")) == []
    assert len(list(batch_yard.blobs.list("batch/open/"))) == 1


def test_a_file_is_scored_once_and_anew_when_it_changes(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """However often S3 tells of it."""
    first = batch_yard.drop(csv_of(rows))
    assert batch_yard.drop(csv_of(rows)).id == first.id
    assert batch_yard.drop(csv_of(rows[:5])).id != first.id


def test_a_job_survives_its_encoding(batch_yard: Any, rows: list[dict[str, Any]]) -> None:
    """What is stored is what was there."""
    job = batch_yard.drop(csv_of(rows))
    assert decode(encode(job)) == job
    with pytest.raises(ValueError, match="version"):
        decode(b"\x81\xa1v\x02")


_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10_000), _texts, st.sampled_from(["\n", "\r\n"])), min_size=1, max_size=20),
)
def test_any_rows_come_back_as_if_each_were_asked_alone(
    make_batch_yard: Any, drawn: list[tuple[int, str, str]]
) -> None:
    """Order and joins hold for any text in any column, over any line ends, taken up again after every chunk."""
    yard = make_batch_yard(part_bytes=300)
    samples = sample_rows(len(drawn), seed=drawn[0][0])
    rows = [{**row, "remark": None} for row in samples]
    out = io.StringIO()
    names = [name for name in rows[0] if name != "remark"]
    csv.writer(out).writerow(["note", *names])
    for row, (_, note, end) in zip(rows, drawn, strict=True):
        cells = ["" if row[n] is None else str(row[n]).lower() if isinstance(row[n], bool) else row[n] for n in names]
        quoting = csv.QUOTE_ALL if "\r" in note else csv.QUOTE_MINIMAL  # a lone CR must be quoted, which csv does not
        csv.writer(out, lineterminator=end, quoting=quoting).writerow([note, *cells])
    job = yard.drop(out.getvalue().encode(), "flights/any.csv")
    while yard.work.advance(job.id, 0) != "ended":
        pass
    done = yard.job(job)
    assert (done.state, done.good, done.bad) == ("done", len(rows), 0), yard.rejects(done)
    got = read_csv(yard.output(done))
    assert [row["note"] for row in got] == [note for _, note, _ in drawn]
    for row, (prediction, probabilities) in zip(got, expected(yard, rows), strict=True):
        assert row["prediction"] == str(prediction).lower()
        assert {name: float(row[f"probability_{name}"]) for name in probabilities or {}} == probabilities
