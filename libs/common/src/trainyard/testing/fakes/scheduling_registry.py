"""Models, versions and aliases in memory."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainyard.contracts.registry import (
    CHAMPION,
    NOT_TRAINED_HERE,
    PENDING_APPROVAL,
    AliasRecord,
    DatasetView,
    DeploymentRecord,
    ImportedVersion,
    ModelRecord,
    Models,
    PublishedAlias,
    PublishedVersion,
    VersionRecord,
    Versions,
)
from trainyard.testing.fakes.scheduling_rows import Model

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trainyard.policy import Policy
    from trainyard.testing.fakes.scheduling_state import State


class MemoryModels(Models):
    """The models' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def dataset(self, name: str, *, hold: bool = False) -> DatasetView | None:  # noqa: ARG002 - transactions take turns
        """Return the dataset."""
        return next((dataset for dataset in self._state.datasets.values() if dataset.name == name), None)

    def get(self, name: str, *, lock: bool = False) -> ModelRecord | None:  # noqa: ARG002 - transactions take turns
        """Return the model."""
        return next((self._record(model) for model in self._live() if model.name == name), None)

    def page(self, limit: int, after: str | None) -> list[ModelRecord]:
        """Return models by name."""
        found = sorted((model for model in self._live() if model.name > (after or "")), key=lambda model: model.name)
        return [self._record(model) for model in found[:limit]]

    def names(self, *, dataset: str | None = None) -> list[str]:
        """Return the models' names."""
        return sorted(
            model.name
            for model in self._live()
            if dataset is None or self._state.datasets[model.dataset_id].name == dataset
        )

    def add(self, name: str, dataset_id: int, *, label: str, task: str, policy: Policy) -> bool:
        """Insert a model."""
        if name in self.names():
            return False
        number = next(self._state.numbers)
        now = self._state.clock.now()
        self._state.models.append(Model(number, name, dataset_id, label, task, policy, now, now))
        return True

    def change_policy(self, model_id: int, policy: Policy) -> None:
        """Replace the policy."""
        self._state.model(model_id).policy = policy

    def delete(self, model_id: int) -> None:
        """Mark the model deleted and drop its aliases."""
        self._state.model(model_id).deleted = True
        for key in [key for key in self._state.aliases if key[0] == model_id]:
            del self._state.aliases[key]

    def _live(self) -> list[Model]:
        return [model for model in self._state.models if not model.deleted]

    def _record(self, model: Model) -> ModelRecord:
        champion = self._state.aliases.get((model.id, CHAMPION))
        return ModelRecord(
            id=model.id,
            name=model.name,
            dataset_id=model.dataset_id,
            dataset=self._state.datasets[model.dataset_id].name,
            label=model.label,
            task=model.task,
            policy=model.policy,
            created_at=model.created_at,
            champion=None if champion is None else champion.version,
        )


class MemoryVersions(Versions):
    """The versions' room."""

    def __init__(self, state: State) -> None:
        self._state = state

    def version(self, model_id: int, number: int) -> VersionRecord | None:
        """Return one version."""
        return next((v for v in self.versions(model_id, len(self._state.versions), None) if v.version == number), None)

    def versions(self, model_id: int, limit: int, before: int | None) -> list[VersionRecord]:
        """Return versions, newest first."""
        found = [v for owner, v in self._state.versions if owner == model_id and (before is None or v.version < before)]
        aliases = self.aliases(model_id)
        return [
            replace(v, aliases=tuple(alias.name for alias in aliases if alias.version == v.version))
            for v in sorted(found, key=lambda v: -v.version)[:limit]
        ]

    def report(self, model_id: int, number: int) -> Mapping[str, Any] | None:
        """Return the version's report."""
        return self._state.reports.get((model_id, number))

    def with_bytes(self, model_id: int, sha256: str) -> VersionRecord | None:
        """Return the newest version of these bytes."""
        every = self.versions(model_id, len(self._state.versions), None)
        return next((version for version in every if version.sha256 == sha256), None)

    def add_imported(self, model_id: int, version: ImportedVersion) -> VersionRecord:
        """Append a version without request and run."""
        made = VersionRecord(
            model=self._state.model(model_id).name,
            version=self._state.next_version(model_id),
            request_id=None,
            run_id=None,
            fence=None,
            artifact_key=version.artifact_key,
            sha256=version.sha256,
            size_bytes=version.size_bytes,
            upto_seq=0,
            snapshot_rows=0,
            snapshot_hash=hashlib.sha256(b"").hexdigest(),
            holdout={},
            metrics=version.metrics,
            gate=version.gate,
            passed=False,
            aliases=(),
            created_at=self._state.clock.now(),
            not_reproducible=NOT_TRAINED_HERE,
        )
        self._state.versions.append((model_id, made))
        return made

    def decide(self, model_id: int, number: int, *, approve: bool, actor: str, reason: str) -> bool:
        """Note the decision."""
        for place, (owner, record) in enumerate(self._state.versions):
            waits = record.approval is not None and record.approval.state == PENDING_APPROVAL
            if (owner, record.version) == (model_id, number) and record.approval is not None and waits:
                state, now = "approved" if approve else "rejected", self._state.clock.now()
                decided = replace(record.approval, state=state, decided_by=actor, decided_at=now, reason=reason)
                self._state.versions[place] = (owner, replace(record, approval=decided))
                return True
        return False

    def aliases(self, model_id: int) -> list[AliasRecord]:
        """Return the aliases by name."""
        return [alias for (owner, _), alias in sorted(self._state.aliases.items()) if owner == model_id]

    def alias(self, model_id: int, name: str, *, lock: bool = False) -> AliasRecord | None:  # noqa: ARG002 - transactions take turns
        """Return one alias."""
        return self._state.aliases.get((model_id, name))

    def point(self, model_id: int, name: str, version: int, *, weight: float = 1.0) -> AliasRecord:
        """Move or create the alias."""
        recorded = [d.seq for owner, d in self._state.deployments if owner == model_id and d.alias == name]
        current = self.alias(model_id, name)
        seq = 1 + max([*recorded, 0 if current is None else current.seq])
        model = self._state.model(model_id).name
        moved = AliasRecord(model, name, version, seq, weight, self._state.clock.now())
        self._state.aliases[model_id, name] = moved
        return moved

    def remove_alias(self, model_id: int, name: str) -> None:
        """Remove the alias."""
        self._state.aliases.pop((model_id, name), None)

    def deployed(
        self, model_id: int, alias: AliasRecord, *, previous_version: int | None, removed: bool, actor: str, reason: str
    ) -> None:
        """Append a deployment."""
        record = DeploymentRecord(
            id=next(self._state.numbers),
            alias=alias.name,
            version=None if removed else alias.version,
            previous_version=previous_version,
            seq=alias.seq,
            actor=actor,
            reason=reason,
            at=self._state.clock.now(),
        )
        self._state.deployments.append((model_id, record))

    def deployments_of_all(self, limit: int, before: int | None) -> list[tuple[str, DeploymentRecord]]:
        """Return moves with the names of their models."""
        live = {row.id: row.name for row in self._state.models if not row.deleted}
        found = [(live[owner], d) for owner, d in self._state.deployments if owner in live]
        return [one for one in found[::-1] if before is None or one[1].id < before][:limit]

    def deployments(self, model_id: int, limit: int, before: int | None) -> list[DeploymentRecord]:
        """Return moves, newest first."""
        found = [d for owner, d in self._state.deployments if owner == model_id and (before is None or d.id < before)]
        return found[::-1][:limit]

    def deployed_at(self, model_id: int, at: datetime) -> list[DeploymentRecord]:
        """Return the last move of each alias at that time."""
        last = {d.alias: d for owner, d in self._state.deployments if owner == model_id and d.at <= at}
        return sorted((d for d in last.values() if d.version is not None), key=lambda d: -d.id)

    def published_versions(self) -> Sequence[PublishedVersion]:
        """Return every version with its artifact."""
        return sorted(
            (
                PublishedVersion(self._state.model(owner).name, v.version, v.sha256, v.size_bytes)
                for owner, v in self._state.versions
                if not self._state.model(owner).deleted
            ),
            key=lambda v: (v.model, v.version),
        )

    def published(self) -> Sequence[PublishedAlias]:
        """Return every alias with its artifact."""
        found = []
        for (model_id, name), alias in sorted(
            self._state.aliases.items(), key=lambda item: (item[1].model, item[0][1])
        ):
            version = self.version(model_id, alias.version)
            if version is not None:
                key, sha256, size = version.artifact_key, version.sha256, version.size_bytes
                found.append(
                    PublishedAlias(alias.model, name, alias.version, key, sha256, size, alias.weight, alias.seq)
                )
        return found
