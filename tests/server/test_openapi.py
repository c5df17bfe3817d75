"""Whatever a client makes of the API's own description, it is answered; no request is a fault of the server's."""

import threading

import pytest
import requests
import schemathesis
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

import clipcore
from server.routes import runs

EXAMPLES = 30  # of each operation


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
    yield site, training.run_.id
    training.end()


@pytest.fixture(autouse=True)
def _few_and_quick(monkeypatch):
    """A request that the training does not answer is not waited for."""
    monkeypatch.setattr(runs, "ANSWER_TIMEOUT_S", 0.1)


def operations(site):
    description = site.http.get("/openapi.json", headers={"Authorization": "Bearer secret"}).json()
    schema = schemathesis.openapi.from_dict(description)
    return [result.ok() for result in schema.get_all_operations()]


def requests_of(operation, run):
    """Cases that keep to the description and such that do not, of anything and of what is really there."""
    fixed = [{}]
    if "{run_id}" in operation.path:
        fixed.append({"path_parameters": {"run_id": run}})
    if (operation.method, operation.path) == ("post", "/api/workers"):
        fixed.append({"body": {"workload": "rnn", "config": {}}})
    return st.one_of([operation.as_strategy(mode, **given) for mode in GenerationMode for given in fixed])


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # schemathesis' own strategies do, now and then
def test_no_request_makes_the_server_fail(trained):
    """Requests made from /openapi.json, kept to it or not, with the token or not, never get a 5xx."""
    site, run = trained
    tokens = st.sampled_from([{}, {"Authorization": "Bearer secret"}, {"Authorization": "Bearer wrong"}])
    with requests.Session() as session:
        session.trust_env = False
        for operation in operations(site):

            @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
            @given(case=requests_of(operation, run), headers=tokens)
            def check(case, headers):
                answer = case.call(base_url=site.url, session=session, headers=headers)
                assert answer.status_code < 500, (case.as_curl_command(), answer.text)

            check()
