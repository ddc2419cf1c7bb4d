"""A clock that stands still until it is advanced."""

from datetime import UTC, datetime, timedelta


class FakeClock:
    """Time under the test's control, starting at noon on 1 January 2030, UTC."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime(2030, 1, 1, 12, tzinfo=UTC) + timedelta(seconds=self._seconds)

    def seconds(self) -> float:
        """Return the seconds that were advanced so far."""
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        self._seconds += seconds
