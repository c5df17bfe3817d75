"""A thousand pages that watch one run, in a process of its own, and one that does not read.

    python benchmarks/audience.py URL RUN VIEWERS

It prints a line when all have their snapshot, and after a line on its standard input each message's way in ms, as JSON.
"""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect


class Audience:
    """A process with viewers of a run, who have their snapshot when this returns.

    Args:
        url: the server's.
        run: the run's id.
        viewers: how many.
    """

    def __init__(self, url: str, run: str, viewers: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__)), url, run, str(viewers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None  # asked for above
        self._process.stdout.readline()

    def latencies_ms(self) -> list[float]:
        """End the process; how long each message took to each viewer, from its newest row's time."""
        printed, _ = self._process.communicate("\n")
        found: list[float] = json.loads(printed)
        return found


async def watch(url: str, run: str, viewers: int) -> None:
    """Connect, listen until there is a line on standard input, then print."""
    latencies_ms: list[float] = []
    sockets = [await _join(url, run) for _ in range(viewers)]
    print("ready", flush=True)
    listening = [asyncio.create_task(_listen(viewer, latencies_ms)) for viewer in sockets]
    await asyncio.to_thread(sys.stdin.readline)
    for task in listening:
        task.cancel()
    print(json.dumps(latencies_ms))


async def _join(url: str, run: str) -> ClientConnection:
    address = url.replace("http", "ws", 1) + "/ws/view"
    viewer = await connect(address, compression=None, proxy=None, max_size=None, ping_interval=None)
    await viewer.send(json.dumps({"type": "subscribe", "run": run}))
    await viewer.recv()
    return viewer


async def _listen(viewer: ClientConnection, latencies_ms: list[float]) -> None:
    async for text in viewer:
        stamp = _stamp(str(text))
        if stamp is not None:
            latencies_ms.append((time.time() - stamp) * 1e3)


@lru_cache(maxsize=64)
def _stamp(text: str) -> float | None:
    """When the newest row of a message was sent; a thousand viewers get the same text."""
    message = json.loads(text)
    return float(message["rows"]["time"][-1]) if message["type"] == "steps" else None


@contextmanager
def stalled(url: str, run: str) -> Iterator[None]:
    """A viewer that asks for snapshots until the server cannot write another byte to it, and reads none of them."""
    address = urlsplit(url)
    text = json.dumps({"type": "subscribe", "run": run}).encode()
    frame = bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text  # a masked text frame
    with socket.create_connection((address.hostname, address.port)) as raw:
        raw.sendall(
            f"GET /ws/view HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        for _ in range(60):
            raw.sendall(frame)
            time.sleep(0.05)
        yield


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1], sys.argv[2], int(sys.argv[3])))
