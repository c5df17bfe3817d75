"""A real server for the frameworks' runs."""

from contextlib import closing

import pytest

from server.settings import Settings
from tests.server.site import Site, until


class Page:
    """What a viewer would see of a run, and click."""

    def __init__(self, site):
        self._http = site.http

    @property
    def runs(self):
        return self._http.get("/api/runs").json()["runs"]

    @property
    def run(self):
        return self.runs[0]

    def column(self, metric):
        return self._http.get(f"/api/runs/{self.run['id']}/series?metrics={metric}").json()["columns"][metric]

    def click(self, command):
        until(lambda: any(run["commands"] for run in self.runs[:1]), timeout_s=30)  # as the page's buttons wait
        self._http.post(f"/api/runs/{self.run['id']}/command", json={"command": command}).raise_for_status()


@pytest.fixture
def page(tmp_path, monkeypatch):
    with closing(Site(Settings(port=0, data_dir=tmp_path / "server"))) as site:
        monkeypatch.setenv("CLIPCORE_URL", site.url)
        yield Page(site)
