"""The server's log on standard error: lines for people, or JSON for what collects logs."""

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from server.wording import printable

#: Between two lines about connections for which there is no file descriptor.
ACCEPT_INTERVAL_S = 1.0

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Let everything of at least this level be written.

    Args:
        level: debug, info, warning or error.
        form: of each entry.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    uvicorn = logging.getLogger("uvicorn.error")
    # At "info" it reports every connection. At "debug" it writes every header down, the token's among them.
    uvicorn.setLevel(logging.INFO if level == "debug" else logging.WARNING)
    uvicorn.addFilter(_is_fault)
    logging.getLogger("asyncio").addFilter(_accepting)


class TextFormatter(logging.Formatter):
    """One line an entry, whatever names it quotes, and a traceback's lines after it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        """The entry without its traceback; what would start a line of its own or steer a terminal is escaped."""
        return printable(super().formatMessage(record).rstrip())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, logger and message, and the traceback if there is one."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class Accepting(logging.Filter):
    """Lets a line pass now and then where asyncio writes two thousand a second, each with its traceback."""

    _silent_until = 0.0  # unix s

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the entry is about something else, or the first of its kind for a while."""
        if not record.getMessage().startswith("socket.accept() out of system resource"):
            return True
        if record.created < self._silent_until:
            return False
        self._silent_until = record.created + ACCEPT_INTERVAL_S
        return True


_accepting = Accepting()


def _is_fault(record: logging.LogRecord) -> bool:
    """Not when a websocket's handshake was answered with a refusal, which uvicorn takes for no answer at all."""
    return record.getMessage() != "ASGI callable returned without completing handshake."
