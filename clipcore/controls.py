"""A Clipper's configuration while it changes: patches come from any thread and wait until a step obeys them."""

import threading
from collections import deque
from difflib import get_close_matches
from reprlib import repr as quoted
from typing import Any

from clipcore.lockstep import Lockstep
from clipcore.model import Model
from clipcore.settings import Settings, Update
from clipcore.units import refuse_split_rows

KEPT_UPDATES = 1024  # of those that took effect
MAX_COMPARED = 200  # letters of a name that is none


class Controls:
    """Settings in force, and the patches on their way.

    Args:
        model: names the parameters that settings may name.
        defaults: settings to start from.
        patch: makes the first settings of them.
        lockstep: shares patches among ranks; None where each rank has its own.

    Attributes:
        settings: in force.
        frozen: only numbers may change, because a CUDA graph holds the operations.
        obeyed: the latest patches that took effect, oldest first.
    """

    def __init__(self, model: Model, defaults: Settings, patch: dict[str, Any], lockstep: Lockstep | None) -> None:
        self._model = model
        self._lockstep = lockstep
        self._lock = threading.Lock()
        self._waiting: list[tuple[Update, Settings]] = []
        self._unrecorded: list[Update] = []  # in force, not yet in a record
        self.settings = self._newest = self._patched(defaults, patch)  # the newest have every patch that waits
        self.frozen = False
        self.obeyed: deque[Update] = deque(maxlen=KEPT_UPDATES)

    def submit(self, patch: dict[str, Any]) -> Update:
        """Check a patch against the settings with all patches that wait, and let it wait too; raises like `update`."""
        if self._lockstep and not self._lockstep.leads:
            raise ValueError("only the first rank of the Clipper's group may update; all ranks then obey together")
        update = Update(patch)
        with self._lock:
            newest = self._patched(self._newest, patch)
            if self.frozen and newest.program != self._newest.program:
                raise ValueError(
                    f"clip_() is captured in a CUDA graph, which obeys new numbers but cannot follow {patch}: call "
                    "clip_() once outside the graph, update, and capture anew"
                )
            self._newest = newest
            self._waiting.append((update, newest))
        return update

    def obey(self, step: int) -> list[Settings]:
        """Put patches into force, first obeyed by `step`; the settings that they make, one after the other."""
        if not self._waiting and self._lockstep is None:
            return []
        with self._lock:
            arrived = self._arrived()
        for update, settings in arrived:
            update.apply(step, self.settings.config, settings.config)
            self.settings = settings
            self._unrecorded.append(update)
            self.obeyed.append(update)
        return [settings for _, settings in arrived]

    def take_unrecorded(self) -> tuple[Update, ...]:
        """The patches in force that no record has named yet."""
        unrecorded, self._unrecorded = tuple(self._unrecorded), []
        return unrecorded

    def restore(self, settings: Settings) -> None:
        """Put other settings into force and forget the patches that wait; raises ValueError if they do not fit."""
        settings = self._patched(settings, {})
        with self._lock:
            if self._lockstep is not None:
                self._lockstep.drop()
            self.settings = self._newest = settings
            self._waiting.clear()

    def freeze(self) -> None:
        """Let only numbers change from now on; raises RuntimeError when a patch that waits changes more."""
        with self._lock:
            if self._newest.program != self.settings.program:
                raise RuntimeError(
                    f"a CUDA graph cannot capture clip_() with {self.settings.config} while {self._newest.config} "
                    "waits to be obeyed: call clip_() once outside the graph first"
                )
            self.frozen = True

    def _patched(self, settings: Settings, patch: dict[str, Any]) -> Settings:
        patched = settings.patched(patch)
        for pattern in patched.config.get("exclude", ()):
            if not self._model.matching([pattern]):
                raise ValueError(
                    f"exclude has {quoted(pattern)}, which is the name of no parameter{self._like(pattern)}"
                )
        if patched.mode == "agc":
            refuse_split_rows(self._model, patched.config["exclude"])
        return patched

    def _like(self, pattern: str) -> str:
        """What may have been meant, in a script and on a page alike."""
        closest = get_close_matches(pattern[:MAX_COMPARED], self._model.names, n=3, cutoff=0.0)
        return f"; the closest are {', '.join(map(repr, closest))}" if closest else ""

    def _arrived(self) -> list[tuple[Update, Settings]]:
        """The patches that hold from now on: all that wait, or those that the ranks agree on."""
        if self._lockstep is None:
            arrived, self._waiting = self._waiting, []
            return arrived
        # as the settings have them, which know no numpy number
        checked = [{name: settings.config[name] for name in update.patch} for update, settings in self._waiting]
        patches = self._lockstep.exchange(checked)
        if self._lockstep.leads:
            arrived, self._waiting = self._waiting[: len(patches)], self._waiting[len(patches) :]
            return arrived
        arrived = []
        for patch in patches:
            self._newest = self._patched(self._newest, patch)
            arrived.append((Update(patch), self._newest))
        return arrived
