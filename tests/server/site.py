"""A real server in a thread, and the two kinds of clients that talk to it."""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

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

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
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
        self.socket.close()


class TrainerWire(Wire):
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
        self._store = Store(settings.database)
        settings = settings.model_copy(update={"port": self._listener.getsockname()[1]})
        self.url = settings.url
        app = create_app(settings, self._store)
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
        self._store.close()
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
        return TrainerWire(self._connect("/ws/train", headers))

    def viewer(self, **headers: str) -> ViewerWire:
        return ViewerWire(self._connect("/ws/view", headers))

    def _connect(self, path: str, headers: dict[str, str]) -> ClientConnection:
        url = self.url.replace("http", "ws", 1) + path
        return self._clients.enter_context(
            connect(url, additional_headers=headers, compression=None, proxy=None, max_size=None, close_timeout=1)
        )


def until(condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
    """Wait until something holds; what it returned then."""
    deadline = time.monotonic() + timeout_s
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{condition} did not hold within {timeout_s} s")
        time.sleep(0.01)
    return result
