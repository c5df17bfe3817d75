"""Whatever a client makes of the API's own description, it is answered as that says, and never with a fault."""

import threading
from contextlib import closing

import pytest
import requests
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import clipcore
from server import guesses
from server.app import MAX_BODY_BYTES
from server.protocol import MAX_COUNT
from server.routes import runs
from server.whatif import EPS
from server.writer import StoreError
from tests.server.site import steps, until

EXAMPLES = 30  # of each operation
ODD = "odd"
CONFORMANCE = [status_code_conformance, content_type_conformance, response_schema_conformance]


class Training(threading.Thread):
    """A clipper that takes a step every now and then and obeys whatever it is asked."""

    def __init__(self, url, token):
        super().__init__()
        self._parameter = torch.nn.Parameter(torch.ones(4))
        self._clipper = clipcore.Clipper([self._parameter], mode="norm", max_norm=1.0)
        self.run_ = clipcore.connect(self._clipper, name="obedient", url=url, token=token)
        self._over = threading.Event()

    def run(self):
        while not self._over.wait(0.01):
            self._parameter.grad = torch.ones(4)
            self.run_.log(self._clipper.clip_(), own=1.0)

    def end(self):
        self._over.set()
        self.join()
        self.run_.finish()


@pytest.fixture(scope="module", params=["", "secret"], ids=["open", "guarded"])
def trained(request, serve_once):
    """A server, and the id of a run that is being trained on it."""
    site = serve_once(token=request.param, max_workers=0)  # none is really started
    training = Training(site.url, request.param)
    training.start()
    with closing(site.trainer(Authorization="Bearer secret")) as trainer:
        record_oddities(trainer)
    yield site, (training.run_.id, ODD)
    training.end()


def record_oddities(trainer):
    """A run that has whatever the wire allows a trainer to say of a step."""
    trainer.start(ODD)
    values = [1e308, -1e308, 5e-324, -EPS, 0.0, "NaN", "Infinity", "-Infinity", None] * 200
    trainer.commit(steps(1, len(values), **dict.fromkeys(("norm", "max_abs", "loss", "own"), values)))
    applied = {"id": None, "step": 0, "config": {"mode": "norm"}, "changes": {"max_norm": ["NaN", None]}}
    trainer.commit({"type": "applied", "n": 1, "time": 0.0, **applied})
    note = {"type": "event", "step": MAX_COUNT, "kind": "note", "text": "\0</script>\u2028"}
    trainer.commit({**note, "n": 2, "time": 253_402_300_799.0})
    trainer.send({"type": "layers", "step": 1, "norm": ["NaN", 1e308], "coef": [-1.0, 0.0], "clamped": [0.0, -1.0]})
    trainer.commit({"type": "finish", "n": 3, "time": 1.0, "state": "failed", "reason": "x" * 100_000})


@pytest.fixture(autouse=True)
def _few_and_quick(monkeypatch):
    """A request that the training does not answer is not waited for."""
    monkeypatch.setattr(runs, "ANSWER_TIMEOUT_S", 0.1)


def operations(site):
    description = site.http.get("/openapi.json", headers={"Authorization": "Bearer secret"}).json()
    schema = schemathesis.openapi.from_dict(description)
    return [result.ok() for result in schema.get_all_operations()]


def requests_of(operation, known):
    """Cases that keep to the description and such that do not, of anything and of what is really there."""
    fixed = [{}]
    if "{run_id}" in operation.path:
        fixed += [{"path_parameters": {"run_id": run}} for run in known]
    if (operation.method, operation.path) == ("post", "/api/workers"):
        fixed.append({"body": {"workload": "rnn", "config": {}}})
    return st.one_of([operation.as_strategy(mode, **given) for mode in GenerationMode for given in fixed])


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # schemathesis' own strategies do, now and then
def test_requests_are_answered_as_described(trained):
    """Requests made from /openapi.json, kept to it or not, with the token or not, never get a 5xx or a surprise."""
    site, known = trained
    tokens = st.sampled_from([{}, {"Authorization": "Bearer secret"}, {"Authorization": "Bearer wrong"}])
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations(site):

            @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=requests_of(operation, known), headers=tokens)
            def check(case, headers):
                answer = case.call(base_url=site.url, session=session, headers=headers)
                assert answer.status_code < 500, (case.as_curl_command(), answer.text)
                case.validate_response(answer, checks=CONFORMANCE)

            check()


BODIES = {
    "/api/workers": {"workload": "rnn"},
    "/api/workers/check": {"workload": "rnn"},
    "command": {"command": "stop"},
}


def refusals(site, headers=None, **given):
    """What all operations answer to a request as it should be, apart from what is given: status, then operations."""
    answers = {}
    paths = site.http.get("/openapi.json", headers={"Authorization": "Bearer secret"}).json()["paths"]
    for path, methods in paths.items():
        for method, operation in methods.items():
            body = BODIES.get(path, BODIES.get(path.rpartition("/")[2], {}))
            asked = {"json": body} if "requestBody" in operation else {}
            url = path.replace("{run_id}", "r1") + ("?mode=zclip" if path.endswith("replay") else "")
            answer = site.http.request(method, url, headers=headers, **asked | given)
            assert str(answer.status_code) in operation["responses"], (method, path, answer.text)
            answers.setdefault(answer.status_code, set()).add(f"{method} {path}")
    return answers


@pytest.mark.parametrize(
    ("status", "headers", "content"),
    [
        (403, {"Host": "evil.example"}, None),
        (403, {"Origin": "https://evil.example"}, None),
        (411, None, iter([b""])),
        (413, None, bytes(MAX_BODY_BYTES + 1)),
    ],
    ids=["name", "origin", "length", "size"],
)
def test_what_is_refused_everywhere_is_described_everywhere(site, status, headers, content):
    """Foreign names and pages, and bodies without a length or without an end."""
    site.trainer().start("r1")
    assert set(refusals(site, headers, **{"content": content} if content else {})) == {status}


def test_what_guesses_and_spectators_get_is_described(serve, monkeypatch):
    """A wrong token is refused, too many are for a while, and where nobody may change anything nobody does."""
    monkeypatch.setattr(guesses, "GUESSES", (0.001, 1))
    guarded = serve(token="secret")
    assert set(refusals(guarded)) == {200, 401}
    assert set(refusals(guarded, {"Authorization": "Bearer wrong"})) == {200, 401, 429}
    guarded.close()
    watched = serve(read_only=True)
    changing = {"patch", "post", "delete"}
    assert {operation.split()[0] for operation in refusals(watched)[403]} == changing


def test_a_broken_store_is_described(site, monkeypatch):
    """Whatever needs the database says 503 while that cannot be used, and runs are listed all the same."""
    site.trainer().start("r1")
    until(lambda: site.http.get("/api/runs/r1").json()["attached"])

    def fail(*_):
        raise StoreError("no")

    monkeypatch.setattr(site.store, "_reading", fail)
    monkeypatch.setattr(site.store._writer, "submit", fail)
    monkeypatch.setattr(runs, "ANSWER_TIMEOUT_S", 0.1)
    answers = refusals(site)
    assert "get /api/runs" in answers[200]
    assert {"get /api/runs/{run_id}/series", "patch /api/runs/{run_id}", "post /api/workers"} < answers[503]
