"""Images by way of a docker command that only writes down what it is asked for."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest

from trainyard_deploy.docker import DockerImages
from trainyard_deploy.ports import DeployError

if TYPE_CHECKING:
    from pathlib import Path

REPOSITORY = "1.dkr.ecr.eu-west-1.amazonaws.com/trainyard-test/ingest"
_DOCKER = """#!/bin/sh
echo "$*" >>"$(dirname "$0")/calls"
case "$*" in
  "image inspect --format {{.Id}}"*) echo sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef ;;
  "image inspect --format {{json .RepoDigests}}"*) echo '["other@sha256:1", "REPOSITORY@sha256:2"]' ;;
  login*) cat >"$(dirname "$0")/password" ;;
  push*) [ ! -e "$(dirname "$0")/refuse" ] || { echo "denied: no space" >&2; exit 1; } ;;
esac
"""


class Registry:
    """ECR's client: one answer."""

    def get_authorization_token(self) -> dict[str, Any]:
        token = base64.b64encode(b"AWS:secret word").decode()
        return {"authorizationData": [{"authorizationToken": token}]}


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DockerImages:
    """A builder whose docker is in ``tmp_path``."""
    docker = tmp_path / "docker"
    docker.write_text(_DOCKER.replace("REPOSITORY", REPOSITORY))
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return DockerImages(tmp_path, "abc", lambda _: Registry())


def test_an_image_is_built_and_named_by_digest(images: DockerImages, tmp_path: Path) -> None:
    """The tag is the image's id, which never means another image; the password is in no argument."""
    images.build("ingest")
    assert images.push("ingest", REPOSITORY) == "sha256:2"
    images.push("ingest", REPOSITORY)

    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls[0].startswith(
        "build --quiet --build-arg REVISION=abc -f services/ingest/Dockerfile -t trainyard-ingest"
    )
    assert f"push --quiet {REPOSITORY}:0123456789abcdef0123456789abcdef" in calls
    assert len([call for call in calls if call.startswith("login")]) == 1
    assert (tmp_path / "password").read_text() == "secret word"
    assert "secret word" not in "".join(calls)


def test_what_docker_says_is_told(images: DockerImages, tmp_path: Path) -> None:
    """A refused push, and no docker at all."""
    (tmp_path / "refuse").touch()
    with pytest.raises(DeployError, match="docker push failed: denied: no space"):
        images.push("ingest", REPOSITORY)


def test_without_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said what is missing."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match="there is no command docker"):
        DockerImages(tmp_path, "abc", lambda _: Registry()).build("ingest")
