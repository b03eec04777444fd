"""What the sections of the tree of settings have in common."""

import msgspec

YEAR = 365 * 86400


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that share the first part of their path.

    A field is another section, or a setting: its type, its kind, and what it does.
    """
