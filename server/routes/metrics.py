"""What the server has counted and how things are, for Prometheus."""

from collections import Counter
from collections.abc import Iterator
from typing import get_args

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.responses import Response

from server.hub import Hub
from server.metrics import ACKS, COMMITS, CONFLATED, DROPPED, STEPS
from server.protocol import State
from server.routes.parts import HubOf, StoreOf, SupervisorOf
from server.routes.refusals import WATCHING
from server.routes.replies import a_file
from server.store import Store
from server.supervisor import Supervisor

router = APIRouter()


@router.get("/metrics", response_class=Response, responses=WATCHING | a_file("text/plain"))
async def metrics(hub: HubOf, store: StoreOf, supervisor: SupervisorOf) -> Response:
    """Counts and gauges in Prometheus' text format."""
    registry = CollectorRegistry()
    for collector in (STEPS, ACKS, CONFLATED, DROPPED, COMMITS, Gauges(hub, store, supervisor)):
        registry.register(collector)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class Gauges(Collector):
    """How things are at the moment."""

    def __init__(self, hub: Hub, store: Store, supervisor: Supervisor) -> None:
        self._hub, self._store, self._supervisor = hub, store, supervisor

    def collect(self) -> Iterator[Metric]:
        """Each with its value."""
        states = Counter(run.state for run in self._hub.catalogue)
        by_state = GaugeMetricFamily("clipcore_runs", "Runs that are kept.", labels=["state"])
        for state in get_args(State):
            by_state.add_metric([state], states[state])
        yield by_state
        yield GaugeMetricFamily("clipcore_trainers", "Connected trainers.", self._hub.trainers)
        yield GaugeMetricFamily("clipcore_viewers", "Connected viewers that watch something.", self._hub.viewers)
        yield GaugeMetricFamily("clipcore_workers", "Training processes of this server.", self._supervisor.workers)
        yield GaugeMetricFamily("clipcore_queued_writes", "Writes that wait for the disk.", self._store.queued)
