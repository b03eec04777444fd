"""The table of docs/settings.md, made from the settings. `python -m tests.config.settings_page` writes it anew."""

from __future__ import annotations

from pathlib import Path

from cargohold.config.settings import SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
HEADING = "## All settings\n"


def table() -> str:
    """A row for each setting, in the order of the tree."""
    rows = [
        f"| `{setting.path}`<br>`{setting.variable}` | {f'`{setting.default}`' if setting.default else 'none'}"
        f" | {setting.description} | {setting.kind.form} |\n"
        for setting in SETTINGS.values()
    ]
    return "".join(
        ["| setting and variable | default | what it does | what to write |\n", "|---|---|---|---|\n", *rows]
    )


def page(current: str) -> str:
    """The page with the table as its end."""
    before, _, _ = current.partition(HEADING)
    return f"{before}{HEADING}\n{table()}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
