"""Every fault of the matrix, done for real; the asserts of its modules are told like a test's."""

import pytest

pytest.register_assert_rewrite("tests.faults.remains", "tests.faults.matrix")
