"""The contract suite is no test module by its name, and explains its failures all the same."""

import pytest

pytest.register_assert_rewrite("tests.sinks.contract")
