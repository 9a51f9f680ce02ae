"""Images by way of the docker command: built from a checkout, pushed to the account's registry, named by digest."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from trainyard_deploy.aws import translated
from trainyard_deploy.ports import DeployError, Images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_BUILD_SECONDS = 1_800
#: Where a service's Dockerfile is, if not in its own folder.
_ELSEWHERE = {"router": "deploy/aws/router.Dockerfile", "setup": "deploy/setup/Dockerfile"}


class DockerImages(Images):
    """Builds from the checkout ``source``; ``client`` returns boto3's client of a service."""

    def __init__(self, source: Path, revision: str, client: Callable[[str], Any]) -> None:
        self._source = source
        self._revision = revision
        self._client = client
        self._logged_in: set[str] = set()

    def build(self, service: str) -> None:
        """Run `docker build`; what did not change comes from its cache."""
        file = _ELSEWHERE.get(service, f"services/{service}/Dockerfile")
        arguments = ("--build-arg", f"REVISION={self._revision}", "-f", file, "-t", f"trainyard-{service}", ".")
        self._docker("build", "--quiet", *arguments)

    def push(self, service: str, repository: str) -> str:
        """Push under a tag that is the image's own id, for a tag is never moved, and return the digest."""
        self._log_in(repository.partition("/")[0])
        image = self._docker("image", "inspect", "--format", "{{.Id}}", f"trainyard-{service}").strip()
        tag = f"{repository}:{image.removeprefix('sha256:')[:32]}"
        self._docker("tag", f"trainyard-{service}", tag)
        self._docker("push", "--quiet", tag)
        pushed: list[str] = json.loads(self._docker("image", "inspect", "--format", "{{json .RepoDigests}}", tag))
        for name in pushed:
            if name.startswith(f"{repository}@"):
                return name.partition("@")[2]
        raise DeployError(f"docker does not tell the digest of {tag}, which it has pushed")

    def _log_in(self, registry: str) -> None:
        if registry in self._logged_in:
            return
        with translated("log in to the registry"):
            token = self._client("ecr").get_authorization_token()["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        self._docker("login", "--username", user, "--password-stdin", registry, said=password)
        self._logged_in.add(registry)

    def _docker(self, *arguments: str, said: str | None = None) -> str:
        program = shutil.which("docker")
        if program is None:
            raise DeployError("there is no command docker; install Docker, or deploy from a machine that has it")
        try:
            done = subprocess.run(
                [program, *arguments],
                cwd=self._source,
                input=said,
                capture_output=True,
                text=True,
                check=False,
                timeout=_BUILD_SECONDS,
            )
        except subprocess.TimeoutExpired as e:
            raise DeployError(f"docker {arguments[0]} was not done after {_BUILD_SECONDS} s") from e
        if done.returncode != 0:
            raise DeployError(f"docker {arguments[0]} failed: {done.stderr.strip()[-1_000:]}")
        return done.stdout
