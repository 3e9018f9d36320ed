"""What every test can ask for."""

import pytest

# Here, before any folder's conftest may import it: its asserts are to explain themselves.
pytest.register_assert_rewrite("tests.sinks.contract")

pytest_plugins = ["tests.services.fixtures"]
