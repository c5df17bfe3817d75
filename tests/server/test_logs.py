"""What the log says, and what it never says."""

import json
import logging
import signal
from contextlib import closing, suppress

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from server import logs
from tests.server.site import TrainerWire, ViewerWire

TOKEN, GUESS = "correct-horse-battery", "wrong-horse-battery"


@pytest.fixture
def _root_as_it_was():
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    uvicorn.setLevel(logging.NOTSET)
    for log in (uvicorn, logging.getLogger("asyncio")):
        log.filters.clear()


@pytest.mark.usefixtures("_root_as_it_was")
def test_an_entry_can_be_json(capsys):
    """One object a line, whatever the message and the traceback contain."""
    logs.configure("info", "json")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("clipcore.server").exception("it %s\nfailed", "really")
    logging.getLogger("clipcore.server").debug("nobody asked")
    (line,) = capsys.readouterr().err.splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["logger"], entry["message"]) == ("error", "clipcore.server", "it really\nfailed")
    assert entry["time"].endswith("+00:00")
    assert "ValueError: two\nlines" in entry["traceback"]


@pytest.mark.usefixtures("_root_as_it_was")
def test_no_name_makes_a_line_of_its_own(capsys):
    """Line breaks and what steers a terminal are escaped in text, also of a name that a trainer has made up."""
    logs.configure("info", "text")
    logging.getLogger("clipcore.server").info("run %s", "a\n2026 INFO forged\r\x1b[31m\u2028\u202e bléu")
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert line.endswith(r"run a\n2026 INFO forged\r\x1b[31m\u2028\u202e bléu")


@pytest.mark.usefixtures("_root_as_it_was")
def test_a_server_without_file_descriptors_says_so_once_a_second(capsys, monkeypatch):
    """Not for every connection that it cannot accept; what else asyncio has to say is written."""
    logs.configure("info", "text")
    log = logging.getLogger("asyncio")
    monkeypatch.setattr(logs._accepting, "_silent_until", 0.0)
    for created in (100.0, 100.2, 100.9, 101.0, 101.1):
        fields = {"levelno": logging.ERROR, "created": created, "msg": "socket.accept() out of system resource\nsocket"}
        log.handle(logging.makeLogRecord(fields))
    log.error("Task was destroyed")
    said = capsys.readouterr().err
    assert said.count("out of system resource") == 2
    assert said.count("Task was destroyed") == 1


def knock(url, secret, cookie=""):
    """Present a secret in every way there is; the cookie that the form gives for it."""
    headers = {"Authorization": f"Bearer {secret}", "Cookie": cookie}
    with httpx.Client(base_url=url, trust_env=False) as http:
        http.get("/api/runs", headers=headers)
        http.post("/api/runs/none/control", json={}, headers=headers)
        form = http.post("/login", data={"password": secret}, headers={"Cookie": cookie})
    for wire in (TrainerWire, ViewerWire):
        with suppress(InvalidStatus), closing(wire(url, headers)) as socket:
            socket.send({"type": "nonsense"})
    return form.headers.get("set-cookie", "").partition(";")[0]


def test_no_secret_is_ever_in_the_log(spawn):
    """Not the token, a wrong one or a cookie, by whichever way they came, even when everything is logged."""
    server = spawn(TOKEN=TOKEN, LOG_LEVEL="debug", LOG_FORMAT="json")
    url = server.url
    knock(url, GUESS)
    cookie = knock(url, TOKEN)
    knock(url, TOKEN, cookie)
    code, log = server.end(signal.SIGTERM)
    assert code == 0
    assert "wrong token from" in log
    assert '"error"' not in log
    for secret in (TOKEN, GUESS, cookie.partition("=")[2]):
        assert secret
        assert secret not in log
    assert all(json.loads(line)["message"] for line in log.splitlines())
