"""The shared suite's assertions explain themselves as a test module's do."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.ports.registry_suite")
