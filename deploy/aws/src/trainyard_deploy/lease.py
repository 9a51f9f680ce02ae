"""One deployment of an environment at a time: a lease on S3, made of objects that are written once.

A lease is the newest of ``<env>/lease/<number>``. Taking, renewing and taking over are the same act: writing the next
number, if nobody has written it; so is giving it back, with nobody as owner. So of two who try, one wins, and a holder
that was taken for dead learns it, whatever happened meanwhile.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainyard.contracts.blobs import BlobExistsError, BlobMissingError
from trainyard.errors import TrainyardError, TransientError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from trainyard.clock import Clock
    from trainyard.contracts.blobs import BlobInfo, BlobStore

#: A holder that was not heard of for so long is dead; how soon a killed deployment can go on.
LEASE_SECONDS = 60.0
_RENEW_SECONDS = 15.0


class TakenError(TrainyardError):
    """Somebody else deploys this environment."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease; nobody, once it was given back."""

    number: int
    owner: str | None
    age_seconds: float

    @property
    def alive(self) -> bool:
        """Whether the lease is not to be had."""
        return self.owner is not None and self.age_seconds < LEASE_SECONDS


class Lease:
    """The lease of one environment; a context manager that holds it, and renews it in a thread.

    Args:
        owner: a name that no other process has.
    """

    def __init__(self, blobs: BlobStore, env: str, owner: str, clock: Clock) -> None:
        self._blobs = blobs
        self._prefix = f"{env}/lease/"
        self._owner = owner
        self._clock = clock
        self._number = 0
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            TakenError: somebody else holds it.
            TransientError: S3 does not answer.
        """
        self.take()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give it back."""
        self._stop.set()
        self._thread.join()
        if not self._lost.is_set():
            self._write(self._number, None)

    def take(self) -> None:
        """Take the lease, or take it over from a holder that is dead; see ``__enter__``."""
        holder = self.holder()
        if holder is not None and holder.alive:
            raise TakenError(
                f"{holder.owner} deploys this environment, and was heard of {holder.age_seconds:.0f} s ago;"
                " repeat when that is over"
            )
        self._write(0 if holder is None else holder.number, self._owner)

    def holder(self) -> Holder | None:
        """Return who took the lease last, dead or alive."""
        newest = max(self._blobs.list(self._prefix), key=_number, default=None)
        if newest is None:
            return None
        try:
            owner = json.loads(self._blobs.get(newest.key).data)["owner"]
        except BlobMissingError:  # the next number was written meanwhile
            return self.holder()
        age = (self._clock.now() - newest.modified_at).total_seconds()
        return Holder(_number(newest), owner, max(age, 0.0))

    def renew(self) -> None:
        """Write the next number.

        Raises:
            TakenError: somebody else has written it.
        """
        self._write(self._number, self._owner)

    def check(self) -> None:
        """Say whether the lease still holds; call before everything that changes something.

        Raises:
            TakenError: it was taken over.
        """
        if self._lost.is_set():
            raise TakenError("this deployment was not heard of for so long that somebody else took over")

    def _write(self, last: int, owner: str | None) -> None:
        number = last + 1
        data = json.dumps({"owner": owner}).encode()
        try:
            self._blobs.put(self._key(number), data, only_if_absent=True)
        except BlobExistsError as e:
            # The answer to our own attempt may have been lost on its way.
            if self._blobs.get(self._key(number)).data != data:
                self._lost.set()
                raise TakenError("somebody else began to deploy this environment at the same time") from e
        self._number = number
        written = list(self._blobs.list(self._prefix))
        if any(_number(info) > number for info in written):
            self._lost.set()
            raise TakenError("somebody else deployed this environment meanwhile")
        for info in written:
            if _number(info) < number:
                self._blobs.delete(info.key)

    def _keep(self) -> None:
        while not self._stop.wait(_RENEW_SECONDS):
            try:
                self.renew()
            except TakenError:
                return
            except TransientError:  # there are three more tries before anybody takes us for dead
                continue

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:09d}"


def _number(info: BlobInfo) -> int:
    return int(info.key.rsplit("/", 1)[1])
