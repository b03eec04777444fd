"""The command `cargohold version`."""

from __future__ import annotations

import click

from cargohold import __version__
from cargohold.cli.help import epilog
from cargohold.cli.printing import print_line

_LIBRARIES = (
    "bcrypt",
    "click",
    "cryptography",
    "granian",
    "httptools",
    "httpx2",
    "joserfc",
    "limits",
    "msgspec",
    "uvloop",
)


@click.command(epilog=epilog("cargohold version --json", codes="0"))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object, with what the program runs on.")
def version(*, as_json: bool) -> None:
    """Print the version."""
    print_line(_all_versions() if as_json else f"cargohold {__version__}")


def _all_versions() -> str:
    # What --help need not wait for.
    import platform  # noqa: PLC0415
    import ssl  # noqa: PLC0415
    from importlib.metadata import PackageNotFoundError  # noqa: PLC0415
    from importlib.metadata import version as version_of  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    libraries: dict[str, str | None] = {"openssl": ssl.OPENSSL_VERSION}
    for name in _LIBRARIES:
        try:
            libraries[name] = version_of(name)
        except PackageNotFoundError:  # in the one-file program, which has the code of libraries and no more
            libraries[name] = None
    versions = {
        "version": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "libraries": libraries,
    }
    return msgspec.json.encode(versions).decode()
