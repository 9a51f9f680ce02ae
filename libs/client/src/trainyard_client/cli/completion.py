"""`trainyard completion SHELL`: what makes a shell complete commands, options, files and the names of the stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import BashComplete, FishComplete, ZshComplete

from trainyard_client.cli.frame import Settings, command

if TYPE_CHECKING:
    from trainyard_client.cli.output import Output

#: What to do with the script, for good.
_KEPT = {
    "bash": "trainyard completion bash > ~/.local/share/bash-completion/completions/trainyard",
    "zsh": "trainyard completion zsh > ~/.zfunc/_trainyard  # with fpath+=~/.zfunc and compinit in ~/.zshrc",
    "fish": "trainyard completion fish > ~/.config/fish/completions/trainyard.fish",
}
_KINDS = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
_VARIABLE = "_TRAINYARD_COMPLETE"


def add_to(root: click.Group) -> None:
    """Add the command."""

    @click.argument("shell", type=click.Choice(list(_KINDS)))
    def completion(output: Output, _settings: Settings, *, shell: str) -> None:
        """Print the script that makes SHELL complete trainyard's commands, options, files, models and datasets.

        Keep it where the shell looks, or try it with: source <(trainyard completion bash)
        """
        script = _KINDS[shell](root, {}, "trainyard", _VARIABLE).source()
        if output.data({"shell": shell, "script": script}):
            return
        click.echo(script)
        output.hint(f"keep it: {_KEPT[shell]}")

    command(root, "completion", example="trainyard completion bash", api=False)(completion)
