"""One training in a process of its own: `python -m server.worker WORKLOAD`, as the supervisor starts it.

It talks to the server as any script does, through `clipcore.connect`; the environment says where the server is and
which run this is. Standard input is the read end of a pipe that the server keeps open: a line with the options as JSON
comes out of it, which may be longer than an argument, and nothing more.
"""

import json
import os
import signal
import sys
import threading

import clipcore
from server.workloads import find
from server.workloads.training import Training

NICENESS = 10  # the dashboard goes first
PIECE_BYTES = 2**16


def main(name: str) -> None:
    """Train a workload as asked."""
    os.nice(NICENESS)
    workload = find(name)
    options = workload.options.parse(json.loads(first_line()))
    threading.Thread(target=end_with_server, daemon=True).start()
    training = Training(workload, options)
    with clipcore.connect(training.clipper, name=name, config=options.model_dump()) as run:
        signal.signal(signal.SIGTERM, lambda *_: run.stop())
        training.loop(run)


def first_line() -> bytes:
    """The line that standard input begins with; ends at once when the server does."""
    line = b""
    while not line.endswith(b"\n"):
        if not (piece := os.read(0, PIECE_BYTES)):
            os._exit(1)
        line += piece
    return line


def end_with_server() -> None:
    """Wait for the end of standard input, which comes however the server ended, and end at once.

    Read unbuffered: a thread that holds sys.stdin's lock keeps the interpreter from shutting down.
    """
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
