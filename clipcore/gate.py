"""Pause, resume, single-step and stop a training loop from another thread."""

import threading
from collections import deque
from collections.abc import Callable

COMMANDS = ("pause", "resume", "step", "stop")


class Gate:
    """A training loop passes here once a step and obeys, in order, the commands that came in meanwhile.

    Args:
        obeyed: called on the training thread as `obeyed(command_id, command)` when a command takes effect.

    Attributes:
        steps_allowed: how many steps a paused loop may still take.
        in_use: a loop has passed at least once.
        paused: the loop waits, but for the steps that are allowed.
        stopping: the loop is to end.
    """

    def __init__(self, obeyed: Callable[[str, str], None]) -> None:
        self._obeyed = obeyed
        self._condition = threading.Condition()
        self._commands: deque[tuple[str, str]] = deque()
        self.steps_allowed = 0
        self.in_use = False
        self.paused = False
        self.stopping = False

    def submit(self, command_id: str, command: str) -> None:
        """Ask the loop for something; raises ValueError when nothing would ever obey."""
        if command not in COMMANDS:
            raise ValueError(f"command must be one of {', '.join(COMMANDS)}, got {command!r}")
        if not self.in_use:
            raise ValueError("this script takes no commands: its loop does not call run.proceed()")
        with self._condition:
            self._commands.append((command_id, command))
            self._condition.notify()

    def open(self) -> None:
        """Let a waiting loop go on and wait for nothing any more (the run is over)."""
        with self._condition:
            self.stopping = True
            self._condition.notify()

    def pass_(self) -> bool:
        """Wait while paused; False once asked to stop. Costs nothing while there is no command."""
        self.in_use = True
        if not (self._commands or self.paused or self.stopping):
            return True
        with self._condition:
            while True:
                self._obey_all()
                if self.stopping:
                    return False
                if not self.paused:
                    return True
                if self.steps_allowed:
                    self.steps_allowed -= 1
                    return True
                # A signal handler that calls `open` in between, on this very thread, wakes nobody: look again.
                self._condition.wait(timeout=1.0)

    def _obey_all(self) -> None:
        while self._commands:
            command_id, command = self._commands.popleft()
            match command:
                case "pause":
                    self.paused = True
                case "resume":
                    self.paused, self.steps_allowed = False, 0
                case "step":
                    self.paused, self.steps_allowed = True, self.steps_allowed + 1
                case "stop":
                    self.stopping = True
            self._obeyed(command_id, command)
