"""The system's clock, behind the `Clock` port."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Wall time in UTC, and a monotonic count of seconds."""

    def now(self) -> datetime:
        """Return the time in UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Return seconds that never run backwards."""
        return time.monotonic()
