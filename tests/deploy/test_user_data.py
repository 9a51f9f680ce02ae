"""What instances run at their first start, under `sh -eu`, with a docker, an AWS and a machine that only write down."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT = Path(__file__).parents[2]
#: EC2 takes no more than that, before base64.
MOST_BYTES = 16_384
PASSWORD = "p@ss/w:rd"
#: What the scripts touch on their own machine; everything else that begins with / is in a container, or a name.
_OWN = re.compile(r"/(?:etc/trainyard|run/trainyard|etc/systemd|etc/fstab|usr/local/bin/trainyard-release|swap)\b")
_SERVICES = ("ingest", "scheduler", "console", "router", "setup")
_RELEASE = "\n".join(f"{name}=registry/{name}@sha256:1" for name in _SERVICES)
_FAKES = {
    "aws": """
case "$1 $2" in
  "secretsmanager get-secret-value") [ ! -e "$ROOT/no-secret" ] || exit 255; cat "$ROOT/secret.json" ;;
  "ecr get-login-password") echo token ;;
  "ssm get-parameter")
    case "$4" in */release) cat "$ROOT/release" ;; *) cat "$ROOT/parameter-$(basename "$4")" ;; esac ;;
  "ssm put-parameter") cp "${8#file://}" "$ROOT/parameter-$(basename "$4")" ;;
esac
""",
    "docker": """
case "$*" in
  login*) cat >/dev/null ;;
  *make_key*) echo "key-$(wc -l <"$ROOT/calls" | tr -d ' ')" ;;
  "run --name trainer"*)
    printf '%s\\n' "$TRAINYARD_DATABASE_URL" >"$ROOT/url"
    while [ -e "$ROOT/keeps-training" ]; do sleep 0.05; done ;;
  stop*) rm -f "$ROOT/keeps-training" ;;
esac
""",
    "curl": 'while [ "$1" != -o ]; do shift; done; echo certificates >"$2"',
    "dd": ': >"${2#of=}"',
    **dict.fromkeys(("dnf", "systemctl", "shutdown", "mkswap", "swapon"), ""),
}


@dataclass
class Machine:
    """A machine in a folder; ``calls`` is what was asked of it."""

    root: Path

    def environment(self) -> dict[str, str]:
        return {"PATH": f"{self.root / 'bin'}:/usr/bin:/bin", "ROOT": str(self.root)}

    def text(self, script: str) -> str:
        return _OWN.sub(lambda found: f"{self.root}{found[0]}", script)

    def start(self, script: str) -> subprocess.Popen[str]:
        path = self.root / "user-data"
        path.write_text(self.text(script))
        return subprocess.Popen(
            ["/bin/sh", "-eu", str(path)],
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, script: str) -> int:
        process = self.start(script)
        said, _ = process.communicate(timeout=30)
        print(said)  # noqa: T201 - pytest shows it with a failure
        return process.returncode

    def release(self, step: str) -> int:
        return subprocess.run(
            [str(self.root / "usr/local/bin/trainyard-release"), step], env=self.environment(), check=False, timeout=30
        ).returncode

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def forget(self) -> None:
        (self.root / "calls").unlink()

    def containers(self) -> dict[str, str]:
        """The containers that were started in the background, by name, with what they were started with."""
        runs = [call for call in self.calls if call.startswith("docker run -d --name ")]
        return {call.split()[4]: call for call in runs}

    def rotate(self, password: str) -> None:
        (self.root / "secret.json").write_text(json.dumps({"username": "trainyard", "password": password}))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine on which nothing has run yet."""
    made = Machine(tmp_path)
    for folder in ("bin", "etc/systemd/system", "run", "usr/local/bin"):
        (tmp_path / folder).mkdir(parents=True)
    for name, body in _FAKES.items():
        fake = tmp_path / "bin" / name
        fake.write_text(
            f'#!/bin/sh\nprintf "%s\\n" "{name} $(printf "%s" "$*" | tr "\\n" " ")" >>"$ROOT/calls"\n{body}\n'
        )
        fake.chmod(0o755)
    (tmp_path / "release").write_text(_RELEASE + "\n")
    made.rotate(PASSWORD)
    return made


@pytest.fixture
def trainer(template: Any) -> str:
    """The user data of a trainer."""
    return str(template("fleet").resource("Template")["LaunchTemplateData"]["UserData"])


@pytest.fixture
def control(template: Any) -> Callable[..., str]:
    """The user data of the control instance."""
    return lambda **given: str(
        template("services", **given).resource("ControlTemplate")["LaunchTemplateData"]["UserData"]
    )


def test_user_data_fits_and_holds_no_secret(trainer: str, control: Callable[..., str]) -> None:
    """EC2 takes 16 KiB; whoever is on the instance can read it."""
    for script in (trainer, control(Domain="ml.example.com")):
        assert len(script.encode()) <= MOST_BYTES
        assert PASSWORD not in script
        assert "${" not in re.sub(r"\$\{[a-z]\w*[^}]*\}", "", script), "a name that CloudFormation did not fill in"


def test_a_trainer_runs_and_then_the_instance_ends(machine: Machine, trainer: str) -> None:
    """One container, by digest, with the database's address from the secret; behind it the machine shuts down."""
    assert machine.run(trainer) == 0

    (run,) = [call for call in machine.calls if call.startswith("docker run")]
    assert run.endswith("/trainyard-test/trainer@sha256:1")
    assert "--read-only" in run
    assert (machine.root / "url").read_text() == (
        "postgresql://trainyard:p%40ss%2Fw%3Ard@db.example.com:5432/trainyard?sslmode=verify-full&sslrootcert=/etc/rds.pem\n"
    )
    assert machine.calls[-1] == "shutdown -h now"
    assert not [call for call in machine.calls if PASSWORD in call or "p%40ss" in call]


def test_a_trainer_that_cannot_start_ends_its_instance(machine: Machine, trainer: str) -> None:
    """An instance without the secret trains nothing and costs nothing."""
    (machine.root / "no-secret").touch()

    assert machine.run(trainer) != 0

    assert not [call for call in machine.calls if call.startswith("docker run")]
    assert machine.calls[-1] == "shutdown -h now"


def test_a_signal_reaches_the_trainer(machine: Machine, trainer: str) -> None:
    """SIGTERM is handed on, and the instance waits until the trainer has handed its work back."""
    keeps = machine.root / "keeps-training"
    keeps.touch()
    process = machine.start(trainer)
    deadline = time.monotonic() + 20
    while not (machine.root / "url").exists():
        assert time.monotonic() < deadline, machine.calls
        time.sleep(0.02)
    assert "shutdown -h now" not in machine.calls

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)

    assert not keeps.exists()
    calls = machine.calls
    assert calls.index("docker stop --time 110 trainer") < calls.index("shutdown -h now")


def test_the_control_instance_starts_twice(machine: Machine, control: Callable[..., str]) -> None:
    """Before the first release it runs nothing, and its user data may run again."""
    assert machine.run(control()) == 0
    assert machine.run(control()) == 0
    assert machine.release("refresh") == 0

    assert machine.containers() == {}
    assert "systemctl enable --now trainyard-refresh.timer" in machine.calls


def test_migrate_makes_the_first_key_once(machine: Machine, control: Callable[..., str]) -> None:
    """The migration runs to its end; the key goes to the parameter store, and what is there stays."""
    machine.run(control())
    assert machine.release("migrate") == 0
    key = (machine.root / "parameter-admin").read_text()
    assert key
    (migration,) = [call for call in machine.calls if call.startswith("docker run --rm --network trainyard")]
    # The services' images have no alembic.
    assert migration.endswith("--entrypoint python registry/setup@sha256:1 -m trainyard.adapters.postgres.migrate")

    (machine.root / "etc/trainyard/key-admin").unlink()  # as on a new instance
    assert machine.release("migrate") == 0

    assert (machine.root / "parameter-admin").read_text() == key
    assert (machine.root / "etc/trainyard/key-admin").read_text() == key


def test_a_failed_migration_is_told(machine: Machine, control: Callable[..., str]) -> None:
    """The exit code of the migration is the release's."""
    machine.run(control())
    docker = machine.root / "bin/docker"
    docker.write_text(docker.read_text() + '\ncase "$*" in *postgres.migrate*) exit 3 ;; esac\n')

    assert machine.release("migrate") == 3


def test_run_starts_the_release(machine: Machine, control: Callable[..., str]) -> None:
    """Each container has what it needs and no more: roles, keys and the database where they belong."""
    machine.run(control())
    machine.release("migrate")
    machine.forget()
    assert machine.release("run") == 0

    made = machine.containers()
    assert list(made) == ["scheduler", "scheduler-worker", "ingest", "ingest-worker", "console", "router"]
    for name, call in made.items():
        assert f"registry/{name.partition('-')[0]}@sha256:1" in call
        assert ("--env-file " + str(machine.root / "run/trainyard/database") in call) == (
            name not in {"console", "router"}
        )
        assert ("aws-scheduler" in call) == name.startswith("scheduler")
        assert ("aws-ingest" in call) == name.startswith("ingest")
        assert ("key-admin" in call) == (name == "scheduler-worker")
    assert made["ingest-worker"].endswith("python -m trainyard_ingest.main")
    assert "-p 127.0.0.1:8080:8080" in made["router"]
    assert not [call for call in machine.calls if PASSWORD in call or "p%40ss" in call]


def test_what_is_written_to_belongs_to_whom_the_image_runs_as(
    machine: Machine, control: Callable[..., str], trainer: str
) -> None:
    """A volume takes its owner from the image's folder; where there is none, root has it, and nobody else may write."""
    machine.run(control())
    machine.release("run")
    machine.run(trainer)
    runs = [call for call in machine.calls if call.startswith("docker run") and "--mount" in call]

    assert len(runs) == 4
    for call in runs:
        (folder,) = re.findall(r"--mount type=volume,dst=(\S+)", call)
        (image,) = re.findall(r"/([a-z]+)@sha256:1", call)
        dockerfile = (_ROOT / "services" / image / "Dockerfile").read_text(encoding="utf-8")
        assert f"install -d -o 65532 -g 65532 {folder}" in dockerfile
        written = re.findall(r"TRAINYARD_(?:WORK|CONSOLE)_DIR=(\S+)", f"{call} {dockerfile}")
        assert written
        assert all(one.startswith(folder) for one in written)


def test_the_command_waits_for_user_data(template: Any) -> None:
    """A new instance takes commands before it has all that a release needs."""
    (step,) = template("services").resource("Release")["Content"]["mainSteps"]
    assert step["inputs"]["runCommand"] == [
        "cloud-init status --wait >/dev/null && /usr/local/bin/trainyard-release {{ step }}"
    ]


def test_a_domain_brings_tls(machine: Machine, control: Callable[..., str]) -> None:
    """With a domain one more container listens to the world."""
    machine.run(control(Domain="ml.example.com"))
    machine.release("run")

    tls = machine.containers()["tls"]
    assert "-p 443:443" in tls
    assert tls.endswith("caddy reverse-proxy --from ml.example.com --to router:8080")


def test_a_rotated_password_is_taken(machine: Machine, control: Callable[..., str]) -> None:
    """Once a minute: nothing happens while the password is the same, everything is started anew when it is not."""
    machine.run(control())
    machine.release("run")
    machine.forget()
    assert machine.release("refresh") == 0
    assert machine.containers() == {}

    machine.rotate("another")
    assert machine.release("refresh") == 0

    assert "ingest" in machine.containers()
    assert "another" in (machine.root / "run/trainyard/database").read_text()
    assert (machine.root / "run/trainyard/database").stat().st_mode & 0o077 == 0


def test_after_a_reboot_the_release_comes_back(machine: Machine, control: Callable[..., str]) -> None:
    """/run is empty after a start of the machine; the timer finds the release by itself."""
    machine.run(control())
    machine.release("run")
    for entry in (machine.root / "run/trainyard").iterdir():
        entry.unlink()
    machine.forget()

    assert machine.release("refresh") == 0
    assert "scheduler" in machine.containers()


def test_only_run_brings_another_release(machine: Machine, control: Callable[..., str]) -> None:
    """A migration that failed leaves the parameter with its release: a rotation or a reboot must not start that one."""
    machine.run(control())
    machine.release("migrate")
    machine.release("run")
    (machine.root / "release").write_text(_RELEASE.replace("sha256:1", "sha256:2") + "\n")
    machine.release("migrate")
    machine.rotate("another")
    machine.forget()

    assert machine.release("refresh") == 0
    assert machine.containers()
    assert all("@sha256:1" in call for call in machine.containers().values())

    machine.forget()
    assert machine.release("run") == 0
    assert all("@sha256:2" in call for call in machine.containers().values())


def test_a_migration_does_not_hide_a_rotation(machine: Machine, control: Callable[..., str]) -> None:
    """What the containers have is what counts: a migration that comes between has given them no other password."""
    machine.run(control())
    machine.release("run")
    machine.rotate("another")
    machine.release("migrate")
    machine.forget()

    assert machine.release("refresh") == 0
    assert "ingest" in machine.containers()


def test_a_rotated_password_is_taken_at_the_next_look(machine: Machine, control: Callable[..., str]) -> None:
    """A registry or an engine that does not answer just then costs a minute, not a week."""
    machine.run(control())
    machine.release("run")
    machine.rotate("another")
    docker = machine.root / "bin/docker"
    well = docker.read_text()
    docker.write_text(well + '\ncase "$*" in "run -d --name ingest "*) exit 1 ;; esac\n')
    assert machine.release("refresh") != 0

    docker.write_text(well)
    machine.forget()
    assert machine.release("refresh") == 0
    assert "ingest" in machine.containers()
