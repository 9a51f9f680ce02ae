"""Machines for the fleet's instances: the emulator knows that they run, and starts nothing for them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from account import launch_template, user_data

from trainyard.adapters.aws.ec2 import ENV_TAG, LAUNCH_TAG, launch_template_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine import Corner

_LOOK_SECONDS = 0.5


class FleetMachines:
    """Looks twice a second, from a thread: an instance that runs has a machine, one that has ended has none.

    Attributes:
        seen: every instance that ran, by its number, with its launch.
        problem: what ended the thread, if anything did.
    """

    def __init__(self, corner: Corner, client: Callable[[str], Any], env: str) -> None:
        self._corner = corner
        self._ec2 = client("ec2")
        self._env = env
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="fleet", daemon=True)
        self._machines: set[str] = set()
        self.seen: dict[str, str] = {}
        self.problem: Exception | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def running(self) -> bool:
        """Tell whether an instance has a machine.

        Raises:
            Exception: what ended the thread.
        """
        if self.problem is not None:
            raise self.problem
        return bool(self._machines)

    def said(self) -> list[str]:
        """Return what the trainers have written that have ended."""
        return [said for said in self._corner.logs() if "-trainer" in said.partition("\n")[0]]

    def close(self) -> None:
        """Look no more; the machines stay."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._stop.wait(_LOOK_SECONDS):
                self._look()
        except Exception as e:  # noqa: BLE001 - the test that waits for it tells
            self.problem = e

    def _look(self) -> None:
        pages = self._ec2.get_paginator("describe_instances").paginate(
            Filters=[
                {"Name": f"tag:{ENV_TAG}", "Values": [self._env]},
                {"Name": "tag-key", "Values": [LAUNCH_TAG]},
                {"Name": "instance-state-name", "Values": ["running"]},
            ]
        )
        running = {
            one["InstanceId"]: one for page in pages for found in page["Reservations"] for one in found["Instances"]
        }
        for instance, one in running.items():
            if instance not in self._machines:
                assert not self._corner.machines(instance), "the emulator starts the fleet's machines: a gap less"
                template = launch_template(self._ec2, launch_template_name(self._env))
                self._corner.start_machine(instance, one["InstanceType"], user_data(template))
                self._machines.add(instance)
                self.seen[instance] = next(tag["Value"] for tag in one["Tags"] if tag["Key"] == LAUNCH_TAG)
        for instance in self._machines - running.keys():
            self._corner.end_machine(instance)
            self._machines.remove(instance)
