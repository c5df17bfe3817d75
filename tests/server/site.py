"""A real server in a thread, and the two kinds of clients that talk to it."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect

from server.app import create_app
from server.hub import Hub
from server.serving import Server, listen
from server.settings import Settings
from server.store import Store


def hello(run: str = "r1", **fields: Any) -> dict[str, Any]:
    return {
        "type": "hello",
        "version": 1,
        "run": run,
        "name": "test",
        "control": {"mode": "norm", "max_norm": 1.0},
        "layers": ["a", "b"],
        "started": 1.0,
        **fields,
    }


def steps(first: int, last: int, **metrics: Any) -> dict[str, Any]:
    """Rows first..last whose norm is their seq, or columns given as a list or as a function of seq."""
    seqs = range(first, last + 1)
    columns = {"norm": float, **metrics}
    return {
        "type": "steps",
        "seq": first,
        "columns": {
            "step": list(seqs),
            "time": [1000.0 + seq for seq in seqs],
            "mode": ["norm"] * len(seqs),
            **{name: [make(seq) for seq in seqs] if callable(make) else make for name, make in columns.items()},
        },
    }


class Wire:
    """A websocket that speaks JSON; what it does not wait for is kept."""

    path: str

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self._stack = ExitStack()
        url = url.replace("http", "ws", 1) + self.path
        self.socket = self._stack.enter_context(
            connect(url, additional_headers=headers, compression=None, proxy=None, max_size=None, close_timeout=1)
        )
        self.seen: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        self.socket.send(json.dumps(message))

    def receive(self, timeout_s: float = 5.0) -> dict[str, Any]:
        message = json.loads(self.socket.recv(timeout=timeout_s))
        self.seen.append(message)
        return message

    def wait(self, type_: str, when: Callable[[dict[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """The next message of that type for which `when` holds."""
        while True:
            message = self.receive()
            if message["type"] == type_ and when(message):
                return message

    def close(self) -> None:
        self._stack.close()


class TrainerWire(Wire):
    path = "/ws/train"

    def start(self, run: str = "r1", **fields: Any) -> dict[str, Any]:
        self.send(hello(run, **fields))
        return self.wait("welcome")

    def commit(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send, and wait until it is acknowledged."""
        self.send(message)
        if message["type"] == "steps":
            last = message["seq"] + len(message["columns"]["step"]) - 1
            return self.wait("ack", lambda ack: ack["seq"] >= last)
        return self.wait("ack", lambda ack: ack["n"] >= message["n"])

    def obey(self, n: int, step: int, config: dict[str, Any], changes: dict[str, Any] | None = None) -> dict[str, Any]:
        """Answer the next control with `applied`."""
        control = self.wait("control")
        applied = {"type": "applied", "n": n, "id": control["id"], "step": step, "time": 1.0, "config": config}
        self.commit({**applied, "changes": changes or {}})
        return control


class ViewerWire(Wire):
    path = "/ws/view"

    def subscribe(self, run: str | None = None, since: int | None = None) -> dict[str, Any]:
        self.send({"type": "subscribe", "run": run, "since": since})
        return self.wait("snapshot")

    def rows_until(self, seq: int) -> list[int]:
        """Seqs that arrive in `steps` messages until `seq` is there."""
        seqs: list[int] = []
        while seq not in seqs:
            seqs += self.wait("steps")["rows"]["seq"]
        return seqs


class Site:
    """A server that runs in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._clients = ExitStack()
        self._listener = listen(settings)
        self.store = Store(settings.database)
        settings = settings.model_copy(update={"port": self._listener.getsockname()[1]})
        self.url = settings.url
        app = create_app(settings, self.store)
        self.hub: Hub = app.state.hub
        self._server = Server(app, settings)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))
        self._thread.start()
        until(lambda: self._server.started)
        self.http = self._clients.enter_context(httpx.Client(base_url=self.url, timeout=10, trust_env=False))

    def stop(self) -> None:
        """End the server as SIGTERM does."""
        self._server.should_exit = True
        self._thread.join()
        self.store.close()
        self._listener.close()

    def shrink_buffers(self) -> None:
        """Let the kernel keep only little for those who connect from now on and do not read."""
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    def close(self) -> None:
        """End the server if it is still there, and its clients."""
        if self._thread.is_alive():
            self.stop()
        self._clients.close()

    def trainer(self, **headers: str) -> TrainerWire:
        return self._clients.enter_context(closing(TrainerWire(self.url, headers)))

    def viewer(self, **headers: str) -> ViewerWire:
        return self._clients.enter_context(closing(ViewerWire(self.url, headers)))


class Process:
    """A server in a process of its own, as a person starts it."""

    def __init__(self, **settings: str) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("CLIPCORE_")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "server", "serve"],
            cwd=Path(__file__).parents[2],
            env=environment | {f"CLIPCORE_{name}": value for name, value in settings.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._words: list[str] = []

    @property
    def url(self) -> str:
        """What the server says about where it is, once it says it."""
        assert self.process.stdout is not None
        self._words = self._words or self.process.stdout.readline().split()
        return self._words[3]

    def end(self, number: int = 0) -> tuple[int, str]:
        """Send a signal, if any, and wait; exit code and error output."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Wait until something holds; what it returned then."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not hold within {timeout_s} s")
        time.sleep(0.01)
    return result
