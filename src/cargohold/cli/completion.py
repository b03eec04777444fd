"""The command `cargohold completion`: what makes a shell complete the words of `cargohold`."""

from __future__ import annotations

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from cargohold.cli.help import epilog
from cargohold.cli.printing import print_line

_SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}


@click.command(
    epilog=epilog(
        'eval "$(cargohold completion bash)"',
        'eval "$(cargohold completion zsh)"',
        "cargohold completion fish > ~/.config/fish/completions/cargohold.fish",
        codes="0, or 2 where the shell is not one of these",
    )
)
@click.argument("shell", type=click.Choice(list(_SHELLS)))
@click.pass_context
def completion(context: click.Context, /, shell: str) -> None:
    """Print a script by which a shell completes commands and options.

    Have the shell read it at its start: bash in ~/.bashrc (4.4 or later), zsh in ~/.zshrc after compinit.
    """
    completes = _SHELLS[shell](context.find_root().command, {}, "cargohold", "_CARGOHOLD_COMPLETE")
    # Not `source`, which would look for the bash of this machine: the script may be for another.
    print_line((completes.source_template % completes.source_vars()).rstrip())
