"""Models, their versions, the aliases that point at versions, and who served when.

The methods are small and belong to one transaction (:class:`trainyard.contracts.scheduling.Records`); what must hold
across them is decided by the use cases.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.policy import Policy

CHAMPION = "champion"
PREVIOUS = "previous"
#: Answers its weight's share of the requests to the champion; scores its weight's share of them after the answer.
CHALLENGER, SHADOW = "challenger", "shadow"
PENDING_APPROVAL = "pending_approval"
IMPORTED = "it was imported, and compared with no champion: promote it by hand"
NOT_TRAINED_HERE = "it was imported, not trained here"


@dataclass(frozen=True)
class DatasetView:
    """What the scheduler needs to know of a dataset; ``last_seq`` is the number of rows ever committed."""

    id: int
    name: str
    columns: tuple[Mapping[str, Any], ...]
    last_seq: int


@dataclass(frozen=True)
class ModelRecord:
    """A named problem. ``champion`` is the version in use, None before the first promotion."""

    id: int
    name: str
    dataset_id: int
    dataset: str
    label: str
    task: str
    policy: Policy
    created_at: datetime
    champion: int | None


@dataclass(frozen=True)
class Approval:
    """What became of a version that the gate left to a person.

    ``state`` is ``pending_approval``, ``approved`` or ``rejected``; ``champion_seq`` that of the champion which it was
    judged against, 0 for none. Who, when and why are None while it waits.
    """

    state: str
    champion_seq: int
    decided_by: str | None = None
    decided_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True)
class VersionRecord:
    """An immutable version. ``holdout``, ``metrics`` and ``gate`` are JSON objects as the trainer wrote them.

    One that was imported has no request, run and fence; its ``gate`` says ``imported``: from which library.
    ``not_reproducible`` says why the version cannot be trained again to the same bytes: rows of its snapshot went.
    ``lost_at``: when the object store lost the artifact, of which there was no copy; such a version serves no more.
    """

    model: str
    version: int
    request_id: str | None
    run_id: str | None
    fence: int | None
    artifact_key: str
    sha256: str
    size_bytes: int
    upto_seq: int
    snapshot_rows: int
    snapshot_hash: str
    holdout: Mapping[str, Any]
    metrics: Mapping[str, Any]
    gate: Mapping[str, Any]
    passed: bool
    aliases: tuple[str, ...]
    created_at: datetime
    not_reproducible: str | None = None
    extract_key: str | None = None
    approval: Approval | None = None
    lost_at: datetime | None = None


@dataclass(frozen=True)
class ImportedVersion:
    """A version that was fitted elsewhere; its artifact is stored already.

    ``origin`` says from which library; ``parity`` how far its answers were from that library's, None where nobody says.
    """

    artifact_key: str
    sha256: str
    size_bytes: int
    origin: Mapping[str, Any]
    parity: float | None

    @property
    def metrics(self) -> dict[str, float | None]:
        """What stands for the metrics of a hold-out."""
        return {"parity": self.parity}

    @property
    def gate(self) -> dict[str, Any]:
        """What stands for a gate report."""
        return {"imported": dict(self.origin), "promoted": False, "promotion": IMPORTED}


@dataclass(frozen=True)
class AliasRecord:
    """A movable pointer; ``seq`` rises with every move.

    ``weight``: the share of the requests to the champion that a challenger answers, or a shadow scores as well: 0 to 1;
    of other aliases 1.
    """

    model: str
    name: str
    version: int
    seq: int
    weight: float
    updated_at: datetime


@dataclass(frozen=True)
class DeploymentRecord:
    """One move of an alias; ``version`` None: the alias was removed."""

    id: int
    alias: str
    version: int | None
    previous_version: int | None
    seq: int
    actor: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class PublishedAlias:
    """An alias with what its object on the blob store must say about the artifact."""

    model: str
    alias: str
    version: int
    key: str
    sha256: str
    size: int
    weight: float
    seq: int


@dataclass(frozen=True)
class PublishedVersion:
    """A version with what its object on the blob store must say about the artifact."""

    model: str
    version: int
    sha256: str
    size: int


class Models(Protocol):
    """Models that were not deleted."""

    def dataset(self, name: str, *, hold: bool = False) -> DatasetView | None:
        """Return the dataset; ``hold``: it cannot be deleted until the transaction ends."""
        ...

    def get(self, name: str, *, lock: bool = False) -> ModelRecord | None:
        """Return the model; ``lock``: nobody else may lock it until the transaction ends."""
        ...

    def page(self, limit: int, after: str | None) -> list[ModelRecord]:
        """Return models by name, from behind ``after``."""
        ...

    def names(self, *, dataset: str | None = None) -> list[str]:
        """Return the names of all models, or of those that learn from ``dataset``."""
        ...

    def add(self, name: str, dataset_id: int, *, label: str, task: str, policy: Policy) -> bool:
        """Create a model; False when one of that name was created meanwhile."""
        ...

    def change_policy(self, model_id: int, policy: Policy) -> None:
        """Replace the policy."""
        ...

    def delete(self, model_id: int) -> None:
        """Delete the model; its records stay, its name becomes free, its aliases are removed."""
        ...


class Versions(Protocol):
    """Versions, aliases and deployments of models."""

    def version(self, model_id: int, number: int) -> VersionRecord | None:
        """Return one version."""
        ...

    def versions(self, model_id: int, limit: int, before: int | None) -> list[VersionRecord]:
        """Return versions, newest first, from below ``before``."""
        ...

    def report(self, model_id: int, number: int) -> Mapping[str, Any] | None:
        """Return the report of one version as the trainer wrote it; None: it has none, or there is no such version."""
        ...

    def with_bytes(self, model_id: int, sha256: str) -> VersionRecord | None:
        """Return the newest version whose artifact has this hash."""
        ...

    def add_imported(self, model_id: int, version: ImportedVersion) -> VersionRecord:
        """Register a version that was fitted elsewhere, under the model's next number; the model must be locked."""
        ...

    def decide(self, model_id: int, number: int, *, approve: bool, actor: str, reason: str) -> bool:
        """Note who approved or rejected a version, and why; False: it does not wait (any more)."""
        ...

    def aliases(self, model_id: int) -> list[AliasRecord]:
        """Return the model's aliases by name."""
        ...

    def alias(self, model_id: int, name: str, *, lock: bool = False) -> AliasRecord | None:
        """Return one alias; ``lock``: nobody else moves it until the transaction ends."""
        ...

    def point(self, model_id: int, name: str, version: int, *, weight: float = 1.0) -> AliasRecord:
        """Make the alias point at ``version``; ``seq`` is one more than any that these two names ever had."""
        ...

    def remove_alias(self, model_id: int, name: str) -> None:
        """Remove the alias."""
        ...

    def deployed(
        self, model_id: int, alias: AliasRecord, *, previous_version: int | None, removed: bool, actor: str, reason: str
    ) -> None:
        """Append to the record of who served when."""
        ...

    def deployments_of_all(self, limit: int, before: int | None) -> list[tuple[str, DeploymentRecord]]:
        """Return the moves of the aliases of all models that are not deleted, newest first, each with its model."""
        ...

    def deployments(self, model_id: int, limit: int, before: int | None) -> list[DeploymentRecord]:
        """Return moves of aliases, newest first, from below the id ``before``."""
        ...

    def deployed_at(self, model_id: int, at: datetime) -> list[DeploymentRecord]:
        """Return, for each alias that pointed somewhere at that time, the move that made it so."""
        ...

    def published(self) -> Sequence[PublishedAlias]:
        """Return every alias of every model."""
        ...

    def published_versions(self) -> Sequence[PublishedVersion]:
        """Return every version of every model."""
        ...
