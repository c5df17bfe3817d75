"""How a run ends, by whoever tells."""

from dataclasses import dataclass

from server.protocol import Outcome


@dataclass(frozen=True)
class Ending:
    """What becomes of a run: its last state, why, and whether it only ended because the server did."""

    state: Outcome
    reason: str = ""
    cut_short: bool = False


ASKED = Ending("stopped", "asked to stop")
WITH_SERVER = Ending("stopped", "the server ended, and its worker with it", cut_short=True)
