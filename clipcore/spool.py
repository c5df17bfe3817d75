"""Where a trainer keeps what does not fit in memory while the server is away."""

import tempfile
from typing import IO, NamedTuple

#: Bytes on disk at most: some four million steps.
SPOOL_BYTES = 1 << 30


class Slice(NamedTuple):
    """Where in the spool a text is."""

    start: int
    length: int


class Spool:
    """Texts in a temporary file without a name, which the system removes however the process ends.

    Not safe for threads: its owner holds a lock.

    Args:
        limit: bytes on disk at most.
    """

    def __init__(self, limit: int = SPOOL_BYTES) -> None:
        self._limit = limit
        self._file: IO[bytes] | None = None
        self.size = 0  # bytes on disk

    def put(self, text: str) -> Slice | None:
        """Keep a text; None when the spool or the disk is full, or there is no place for temporary files."""
        data = text.encode()
        if self.size + len(data) > self._limit:
            return None
        try:
            if self._file is None:  # it lives as long as the backlog does
                self._file = tempfile.TemporaryFile(prefix="clipcore-", buffering=0)  # noqa: SIM115
            self._file.seek(self.size)
            if self._file.write(data) < len(data):
                return None
        except OSError:
            return None
        place = Slice(self.size, len(data))
        self.size += len(data)
        return place

    def get(self, place: Slice) -> str:
        """A text that was kept."""
        assert self._file is not None
        self._file.seek(place.start)
        return self._file.read(place.length).decode()

    def clear(self) -> None:
        """Forget all texts and give the disk back."""
        if self._file is not None:
            self._file.close()
            self._file, self.size = None, 0

    def __del__(self) -> None:
        self.clear()
