"""What every store of pull sources does. The class needs the fixtures ``sources`` (empty) and ``dataset``."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from trainyard.contracts.idempotency import Repeatable
from trainyard.contracts.sources import Claim, Draft, Outcome
from trainyard.errors import ServiceError

if TYPE_CHECKING:
    from trainyard.contracts.sources import Sources
    from trainyard.contracts.warehouse import Dataset

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_LATER = datetime(2120, 1, 1, tzinfo=UTC)
_BATCH = "00000000-0000-0000-0000-000000000001"


def _draft(**others: Any) -> Draft:
    draft = Draft("url", {"url": "https://example.com/a.csv?sig=secret"}, None, "https://example.com/a.csv", None)
    return replace(draft, **others)


def _claimed(sources: Sources, lease_seconds: float = 60) -> Claim:
    claim = sources.claim(lease_seconds=lease_seconds)
    assert claim is not None
    return claim


class SourcesContract:
    """Sources by name; one worker at a time; a cursor that only the holder moves."""

    def test_made_changed_listed_and_removed(self, sources: Sources, dataset: Dataset) -> None:
        """A source is made once, changed by the same call, listed by name, and gone after its removal."""
        made, new = sources.put(dataset, "b", _draft(), actor="k1")
        assert (new, made.name, made.dataset, made.state, made.cursor) == (True, "b", "shop", "idle", None)
        changed, new = sources.put(dataset, "b", _draft(schedule={"every": 60}, next_at=_LATER), actor="k1")
        assert (new, changed.schedule, changed.next_at, changed.run_id) == (False, {"every": 60}, _LATER, made.run_id)
        sources.put(dataset, "a", _draft(), actor="k1")
        assert [source.name for source in sources.sources(dataset, limit=9)] == ["a", "b"]
        assert [source.name for source in sources.sources(dataset, limit=9, after="a")] == ["b"]
        assert len(sources.sources(dataset, limit=1)) == 1
        assert sources.source(dataset, "b") == changed
        sources.delete(dataset, "b", actor="k1")
        for call in (
            lambda: sources.source(dataset, "b"),
            lambda: sources.delete(dataset, "b", actor="k1"),
            lambda: sources.ask(dataset, "b", actor="k1", once=None),
        ):
            with pytest.raises(ServiceError) as refused:
                call()
            assert refused.value.code == "unknown_source"

    def test_the_json_form_hides_the_query(self, sources: Sources, dataset: Dataset) -> None:
        """A URL's query may be a signature: the answer shows that there is one, not what it is."""
        made, _ = sources.put(dataset, "a", _draft(), actor="k1")
        assert made.as_dict()["url"] == "https://example.com/a.csv?..."
        assert made.description["url"].endswith("secret")

    def test_nothing_to_do(self, sources: Sources, dataset: Dataset) -> None:
        """A source that is neither due nor asked for is nobody's work."""
        assert sources.claim(lease_seconds=60) is None
        sources.put(dataset, "a", _draft(next_at=_LATER), actor="k1")
        assert sources.claim(lease_seconds=60) is None

    def test_due_by_schedule(self, sources: Sources, dataset: Dataset) -> None:
        """A source that is due is claimed by one worker, and rests until its next time after the end."""
        sources.put(dataset, "a", _draft(next_at=_LONG_AGO), actor="k1")
        claim = _claimed(sources)
        assert sources.claim(lease_seconds=60) is None
        assert sources.source(dataset, "a").state == "pulling"
        assert sources.finish(claim, Outcome(3, _BATCH), next_at=_LATER)
        after = sources.source(dataset, "a")
        assert after.last is not None
        assert (after.state, after.last.rows, after.last.batch_id, after.next_at) == ("idle", 3, _BATCH, _LATER)
        assert sources.claim(lease_seconds=60) is None

    def test_asked_for(self, sources: Sources, dataset: Dataset) -> None:
        """A pull that is asked for is done once, and before what is due; a wish during the pull stays open."""
        sources.put(dataset, "due", _draft(next_at=_LONG_AGO), actor="k1")
        sources.put(dataset, "a", _draft(), actor="k1")
        assert sources.ask(dataset, "a", actor="k1", once=None)["asked"] == 1
        assert sources.source(dataset, "a").state == "asked"
        claim = _claimed(sources)
        assert claim.source.name == "a"
        assert sources.ask(dataset, "a", actor="k1", once=None)["asked"] == 2
        assert sources.finish(claim, Outcome(error="the server said\0no"), next_at=None)
        failed = sources.source(dataset, "a")
        assert failed.last is not None
        assert (failed.answered, failed.last.error) == (1, "the server said?no")
        again = _claimed(sources)
        assert again.source.name == "a"
        assert sources.finish(again, Outcome(error="no"), next_at=None)
        assert sources.source(dataset, "a").state == "failed"

    def test_asked_with_a_key(self, sources: Sources, dataset: Dataset) -> None:
        """The same Idempotency-Key asks once and answers alike; with another body it is refused."""
        sources.put(dataset, "a", _draft(), actor="k1")
        once = Repeatable("POST pull", "k1", "key", "0" * 64)
        first = sources.ask(dataset, "a", actor="k1", once=once)
        assert sources.ask(dataset, "a", actor="k1", once=once) == first
        assert sources.source(dataset, "a").asked == 1
        with pytest.raises(ServiceError) as refused:
            sources.ask(dataset, "a", actor="k1", once=replace(once, body_sha256="1" * 64))
        assert refused.value.code == "key_reused"

    def test_plan_and_cursor(self, sources: Sources, dataset: Dataset) -> None:
        """The plan stands until the cursor is moved behind it; the rows of the pull add up."""
        sources.put(dataset, "a", _draft(next_at=_LONG_AGO), actor="k1")
        claim = _claimed(sources)
        plan = {"fingerprint": "f", "cursor": {"key": ["5"]}}
        assert sources.plan(claim, plan)
        assert sources.source(dataset, "a").plan == plan
        assert sources.renew(claim, lease_seconds=60)
        assert sources.advance(claim, {"key": ["5"]}, rows=5)
        assert sources.advance(claim, {"key": ["7"]}, rows=2)
        source = sources.source(dataset, "a")
        assert (source.plan, source.cursor, source.pulling_rows) == (None, {"key": ["7"]}, 7)

    def test_whoever_lost_the_lease_writes_nothing(self, sources: Sources, dataset: Dataset) -> None:
        """After the lease another worker takes over, with the plan; what the first one writes is refused."""
        sources.put(dataset, "a", _draft(next_at=_LONG_AGO), actor="k1")
        lost = _claimed(sources, lease_seconds=-1)
        assert sources.plan(lost, {"fingerprint": "f"})
        assert sources.source(dataset, "a").state == "idle"
        held = _claimed(sources)
        assert held.source.plan == {"fingerprint": "f"}
        assert not sources.renew(lost, lease_seconds=60)
        assert not sources.plan(lost, {})
        assert not sources.advance(lost, {}, rows=1)
        assert not sources.finish(lost, Outcome(), next_at=None)
        assert sources.finish(held, Outcome(), next_at=None)

    def test_a_change_during_a_pull(self, sources: Sources, dataset: Dataset) -> None:
        """Who changes a source takes it away from whoever pulls it; another sequence begins at the start again."""
        made, _ = sources.put(dataset, "a", _draft(next_at=_LONG_AGO), actor="k1")
        claim = _claimed(sources)
        assert sources.advance(claim, {"key": ["5"]}, rows=5)
        same, _ = sources.put(dataset, "a", _draft(next_at=_LONG_AGO), actor="k1")
        assert (same.cursor, same.run_id, same.state) == ({"key": ["5"]}, made.run_id, "idle")
        assert not sources.advance(claim, {"key": ["9"]}, rows=4)
        other, _ = sources.put(dataset, "a", _draft(sequence="other", next_at=_LATER), actor="k1")
        assert (other.cursor, other.plan) == (None, None)
        assert other.run_id != made.run_id
