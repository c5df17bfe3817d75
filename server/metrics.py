"""What the server counts of itself, over the whole process as Prometheus has it; `server.routes.metrics` shows it."""

from prometheus_client import Counter, Histogram

STEPS = Counter("clipcore_steps", "Steps of trainings that were committed.", registry=None)
ACKS = Counter("clipcore_acks", "Acknowledgements that were sent to trainers.", registry=None)
CONFLATED = Counter("clipcore_conflations", "Times that a slow viewer got all it had missed at once.", registry=None)
DROPPED = Counter("clipcore_dropped_clients", "Connections given up because nothing was read there.", registry=None)
COMMITS = Histogram(
    "clipcore_commit_seconds",
    "From handing a write in until it was on the disk.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=None,
)
