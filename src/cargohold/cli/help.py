"""How the help of each command ends."""

from __future__ import annotations


def epilog(*examples: str, codes: str) -> str:
    """The last lines of a command's help: what may be typed, and what its exit codes mean."""
    heading = "Example:" if len(examples) == 1 else "Examples:"
    # The first mark keeps click from joining the lines.
    return "\n".join(["\b", heading, *(f"  {example}" for example in examples), "", f"Exit code: {codes}."])
