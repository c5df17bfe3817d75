"""Whatever a client makes of the API's own description, it is answered; no request is a fault of the server's."""

import threading
from contextlib import closing

import pytest
import requests
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

import clipcore
from server.protocol import MAX_COUNT
from server.routes import runs
from server.whatif import EPS
from tests.server.site import steps

EXAMPLES = 30  # of each operation
ODD = "odd"


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
def test_no_request_makes_the_server_fail(trained):
    """Requests made from /openapi.json, kept to it or not, with the token or not, never get a 5xx."""
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

            check()
