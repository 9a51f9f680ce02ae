"""The artifact is stored and the store's answer is lost.

Set-up: the connection breaks after S3 has taken the PUT, once, or as often as boto3 tries, so that the trainer itself
has to come again. Seen: the next PUT is told that the object is there (412), its SHA-256 is compared and equal, and the
run goes on to its one version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.cases.yard import UNHURRIED

if TYPE_CHECKING:
    from tests.cases.wire import Wire
    from tests.cases.yard import Yard

#: boto3 makes so many attempts before the trainer hears of a failure.
ATTEMPTS = 3


@pytest.mark.parametrize("times", [1, ATTEMPTS])
def test_taken_for_a_success(yard: Yard, wire: Wire, times: int) -> None:
    """One object, one version, one run."""
    request_id = yard.request()
    cut = wire.cut_answer(f"PUT /{yard.config.bucket}/models/".encode(), times=times)
    yard.work_off(yard.trainer(endpoint=wire.endpoint, lease_seconds=UNHURRIED))
    assert cut.done == times
    assert [run["state"] for run in yard.runs(request_id)] == ["done"]
    (version,) = yard.versions()
    assert yard.artifacts() == [version["artifact_key"]]
