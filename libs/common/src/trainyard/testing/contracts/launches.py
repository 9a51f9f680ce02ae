"""What every ledger of launches does, and what every book of costs says about them.

The class needs the fixtures ``world`` (:class:`~trainyard.testing.contracts.scheduling.World`) and ``later``, which
lets at least 50 ms pass by the clock of the store.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from trainyard.contracts.fleet import Instance, LaunchSpec
from trainyard.contracts.launches import CAPACITY, REFUSED
from trainyard.testing.contracts.scheduling import add_model, add_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainyard.contracts.launches import Launch
    from trainyard.contracts.scheduling import Store
    from trainyard.testing.contracts.scheduling import World

_SPEC = LaunchSpec(("c7i.large", "m6i.large"), spot=True)
_GPU = LaunchSpec(("g5.xlarge",), spot=True, on_demand=False)
_INSTANCE = Instance("i-1", "", "m6i.large", "pending", "us-east-1a", "spot")
_USD = 3_600.0  # a dollar for each second


def _ask(store: Store, spec: LaunchSpec = _SPEC) -> str:
    with store.begin() as records:
        records.launches.lock()
        return records.launches.ask(spec, "a request waits")


def _launch(store: Store, *, usd_per_hour: float | None = _USD, instance: Instance = _INSTANCE) -> str:
    ident = _ask(store)
    with store.begin() as records:
        records.launches.launched(ident, instance, usd_per_hour)
    return ident


def _open(store: Store) -> list[Launch]:
    with store.begin() as records:
        return records.launches.open()


class LaunchesContract:
    """Asking, claiming, the answers, the limits' figures, and the costs."""

    def test_from_asked_to_ended(self, world: World, later: Callable[[], None]) -> None:
        """A launch is asked for, launched with type, zone, market and price, and ended; then it is no longer open."""
        ident = _ask(world.store, _GPU)
        (asked,) = _open(world.store)
        assert (asked.id, asked.state, asked.instance_id, asked.spec) == (ident, "asked", None, _GPU)
        later()
        with world.store.begin() as records:
            records.launches.launched(ident, _INSTANCE, 0.5)
        (launched,) = _open(world.store)
        assert (launched.id, launched.state, launched.instance_id, launched.spec) == (ident, "launched", "i-1", _GPU)
        assert (launched.instance_type, launched.zone) == ("m6i.large", "us-east-1a")
        assert (launched.market, launched.usd_per_hour) == ("spot", 0.5)
        assert launched.age >= 0.0
        with world.store.begin() as records:
            records.launches.ended([ident], "it was time")
            assert records.launches.open() == []

    def test_what_an_instance_was(self, world: World, later: Callable[[], None]) -> None:
        """The ledger knows type, market and price of an instance, also when it is over; of others it knows nothing."""
        first = _launch(world.store)
        later()
        _launch(world.store, instance=Instance("i-2", "", "c7i.large", "pending", None, "on-demand"))
        with world.store.begin() as records:
            records.launches.ended([first], "it was time")
            found = records.launches.of_instances(["i-2", "i-1", "i-3"])
            assert [(f.instance_id, f.state, f.instance_type, f.market) for f in found] == [
                ("i-1", "ended", "m6i.large", "spot"),
                ("i-2", "launched", "c7i.large", "on-demand"),
            ]
            assert [f.instance_id for f in records.launches.of_instances(["i-1"])] == ["i-1"]
            assert records.launches.of_instances([]) == []

    def test_one_asks_at_a_time(self, world: World, later: Callable[[], None]) -> None:
        """A claimed launch is nobody else's until the claim is over, given up, or the answer is there."""
        store, ident = world.store, _ask(world.store)

        def claim(seconds: float) -> bool:
            with store.begin() as records:
                found = records.launches.claim(ident, seconds)
            assert found is None or found.id == ident
            return found is not None

        assert [claim(60), claim(60)] == [True, False]
        with store.begin() as records:
            records.launches.unclaim(ident)
        assert claim(0.01)
        later()
        assert [claim(60), claim(60)] == [True, False]
        with store.begin() as records:
            records.launches.unclaim(ident)
            records.launches.launched(ident, _INSTANCE, None)
        assert not claim(60)

    def test_launch_that_does_not_exist(self, world: World) -> None:
        """Nobody claims what nobody asked for."""
        with world.store.begin() as records:
            assert records.launches.claim("00000000-0000-0000-0000-000000000000", 1) is None

    def test_failures_in_a_row(self, world: World, later: Callable[[], None]) -> None:
        """Failures are counted for each spec, with the last one's kind and words, until a launch of it succeeds."""
        store = world.store
        for spec, kind in ((_SPEC, CAPACITY), (_SPEC, REFUSED), (_GPU, CAPACITY)):
            ident = _ask(store, spec)
            with store.begin() as records:
                records.launches.failed(ident, kind, f"words of {kind}")
            later()
        with store.begin() as records:
            found = records.launches.failures()
        assert {(f.spec, f.count, f.kind, f.error) for f in found} == {
            (_SPEC, 2, REFUSED, "words of refused"),
            (_GPU, 1, CAPACITY, "words of capacity"),
        }
        assert all(f.seconds_ago > 0.0 for f in found)
        _launch(store)
        with store.begin() as records:
            assert [failure.spec for failure in records.launches.failures()] == [_GPU]

    def test_instance_outweighs_a_failure(self, world: World) -> None:
        """Of two answers for one launch the one with an instance counts, whichever comes first; the first stays."""
        store, ident = world.store, _ask(world.store)
        with store.begin() as records:
            records.launches.failed(ident, CAPACITY, "none")
            records.launches.launched(ident, _INSTANCE, None)
            records.launches.failed(ident, CAPACITY, "none")
            records.launches.launched(ident, Instance("i-2", "", "c7i.large", "pending"), None)
            records.launches.ended([ident], "gone")
            records.launches.launched(ident, Instance("i-3", "", "c7i.large", "pending"), None)
            assert records.launches.open() == []
            assert records.launches.failures() == []

    def test_usage_of_the_day(self, world: World, later: Callable[[], None]) -> None:
        """Hours and dollars of the day grow with every instance that lives, and stop with its end."""
        store = world.store
        with store.begin() as records:
            assert (records.launches.usage().hours, records.launches.usage().usd) == (0.0, 0.0)
        priced, unpriced = _launch(store), _launch(store, usd_per_hour=None)
        later()
        with store.begin() as records:
            used = records.launches.usage()
            records.launches.ended([priced, unpriced], "gone")
            last = records.launches.usage()
        assert used.hours > used.unpriced_hours > 0.0
        assert used.usd > 0.0
        later()
        with store.begin() as records:
            assert records.launches.usage() == last

    def test_notice_once_a_day(self, world: World) -> None:
        """Whoever asks first about a notice today is told so; another notice has its own first."""
        with world.store.begin() as records:
            assert records.launches.first_today("cap:hours")
        with world.store.begin() as records:
            assert not records.launches.first_today("cap:hours")
            assert records.launches.first_today("cap:usd")

    def test_cost_of_a_run(self, world: World, later: Callable[[], None]) -> None:
        """A run that ended costs its seconds at the price of its instance, once; a running one has no cost yet."""
        store = world.store
        with store.begin() as records:
            request = add_request(records, add_model(records))
        _launch(store)
        world.claim(request.id, instance_id="i-1")
        with store.begin() as records:
            assert records.costs.settle() == 0
        later()
        world.finish(request.id)
        with store.begin() as records:
            assert [records.costs.settle(), records.costs.settle()] == [1, 0]
            (run,) = records.requests.runs(None, 9, None)
            assert run.ended_at is not None
            assert run.cost_usd == pytest.approx((run.ended_at - run.started_at).total_seconds(), abs=1e-3)
            today = records.costs.today()
            (row,) = records.costs.of_runs(today, today)
            assert (row.day, row.model, row.instance_type) == (today, "late", "m6i.large")
            assert (row.runs, row.unpriced_runs) == (1, 0)
            assert row.usd == pytest.approx(run.cost_usd)
            (time,) = records.costs.training_times()
            assert (list(time.instance_types), time.spot, time.runs) == ([], None, 1)
            assert time.mean_seconds == pytest.approx(max(row.seconds, 0.1), abs=1e-3)

    def test_run_without_a_price(self, world: World) -> None:
        """A run on no known instance, or on one without a price, stays without a cost and is counted as such."""
        store = world.store
        with store.begin() as records:
            model = add_model(records)
            first, second = add_request(records, model), add_request(records, model, 6)
        _launch(store, usd_per_hour=None)
        world.claim(first.id, instance_id="i-1")
        world.finish(first.id)
        world.claim(second.id)
        world.finish(second.id)
        with store.begin() as records:
            assert records.costs.settle() == 0
            today = records.costs.today()
            rows = records.costs.of_runs(today, today)
            found = {(row.instance_type, row.runs, row.unpriced_runs, row.usd) for row in rows}
            assert found == {("m6i.large", 1, 1, None), (None, 1, 1, None)}

    def test_costs_of_instances(self, world: World, later: Callable[[], None]) -> None:
        """Instances cost their hours, busy or idle, on the days that they lived; one that was not had costs nothing."""
        store = world.store
        ident, other = _launch(store), _ask(store)
        later()
        with store.begin() as records:
            records.launches.ended([ident], "gone")
            records.launches.failed(other, CAPACITY, "none")
            today, day = records.costs.today(), timedelta(days=1)
            (row,) = records.costs.of_instances(today, today + day)
            assert records.costs.of_instances(today - day, today - day) == []
            assert records.costs.of_runs(today - day, today) == []
        assert (row.day, row.instance_type, row.market, row.instances) == (today, "m6i.large", "spot", 1)
        assert row.hours > 0.0
        assert row.usd == pytest.approx(row.hours * _USD)
