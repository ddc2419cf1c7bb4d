"""A registry in a file of its own."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from lmstrix.registry import SQLiteRegistry, open_registry
from lmstrix.testing import FakeClock


@pytest.fixture
def registry(own_home: Path) -> Iterator[SQLiteRegistry]:
    """Return an empty registry under `LMSTRIX_HOME`."""
    with closing(open_registry(own_home, FakeClock())) as registry:
        yield registry
