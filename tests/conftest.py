from __future__ import annotations

import pytest

# Before any of the tests that share it is imported: its asserts are to tell what they compared.
pytest.register_assert_rewrite("tests.storage.contract")
