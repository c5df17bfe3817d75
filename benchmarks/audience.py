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
from typing import cast
from urllib.parse import urlsplit

TEXT, PING, PONG = 0x1, 0x9, 0xA
INBOX = bytearray(2**16)  # all viewers receive into it, one after the other


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


class Viewer(asyncio.BufferedProtocol):
    """One page's end of the wire, with as little as possible between socket and clock: it is not what is measured.

    A server's frames are not masked, and each of this server's messages is one frame.

    Args:
        url: the server's.
        run: the run's id.
        latencies_ms: where each message's way is noted.

    Attributes:
        started: done when the snapshot is here.
    """

    def __init__(self, url: str, run: str, latencies_ms: list[float]) -> None:
        self._url = url
        self._run = run
        self._latencies_ms = latencies_ms
        self._received = b""
        self._is_open = False
        self.started = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(handshake(self._url))

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002  asyncio's signature
        return INBOX

    def buffer_updated(self, nbytes: int) -> None:
        self._received += INBOX[:nbytes]
        if not self._is_open:
            _, end, rest = self._received.partition(b"\r\n\r\n")
            if not end:
                return
            self._received, self._is_open = rest, True
            self._transport.write(subscription(self._run))
        while (found := next_frame(self._received)) is not None:
            opcode, payload, self._received = found
            if opcode == TEXT:
                self._take(payload)
            elif opcode == PING:
                self._transport.write(frame(PONG, payload))

    def _take(self, payload: bytes) -> None:
        if not self.started.done():
            self.started.set_result(None)
        elif (stamp := _stamp(payload)) is not None:
            self._latencies_ms.append((time.time() - stamp) * 1e3)


async def watch(url: str, run: str, viewers: int) -> None:
    """Connect, listen until there is a line on standard input, then print."""
    latencies_ms: list[float] = []
    loop, place = asyncio.get_running_loop(), address(url)
    for _ in range(viewers):
        _, viewer = await loop.create_connection(lambda: Viewer(url, run, latencies_ms), *place)
        await viewer.started
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(json.dumps(latencies_ms))


@lru_cache(maxsize=64)
def _stamp(payload: bytes) -> float | None:
    """When the newest row of a message was sent; a thousand viewers get the same text."""
    message = json.loads(payload)
    return float(message["rows"]["time"][-1]) if message["type"] == "steps" else None


@contextmanager
def stalled(url: str, run: str) -> Iterator[None]:
    """A viewer that asks for snapshots until the server cannot write another byte to it, and reads none of them."""
    with socket.create_connection(address(url)) as raw:
        raw.sendall(handshake(url))
        for _ in range(60):
            raw.sendall(subscription(run))
            time.sleep(0.05)
        yield


def address(url: str) -> tuple[str, int]:
    """Host and port."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


def handshake(url: str) -> bytes:
    """What a viewer asks a server for first."""
    return (
        f"GET /ws/view HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def subscription(run: str) -> bytes:
    """A frame with the wish to watch a run."""
    return frame(TEXT, json.dumps({"type": "subscribe", "run": run}).encode())


def frame(opcode: int, payload: bytes) -> bytes:
    """A client's frame of at most 125 bytes; its mask is all zeros."""
    return bytes([0x80 | opcode, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def next_frame(data: bytes) -> tuple[int, bytes, bytes] | None:
    """Opcode and payload of a server's frame, and what follows it; None while it is not whole."""
    length, start = data[1] if len(data) > 1 else 126, 2
    if length > 125:
        start = 4 if length == 126 else 10
        length = int.from_bytes(data[2:start])
    end = start + length
    return (data[0] & 0xF, data[start:end], data[end:]) if end <= len(data) else None


if __name__ == "__main__":
    asyncio.run(watch(sys.argv[1], sys.argv[2], int(sys.argv[3])))
