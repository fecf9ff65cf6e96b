"""What a server counts, for Prometheus: `GET /metrics`. Its own registry, so that two servers in one process do not mix."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Names and labels are few and fixed: no client chooses one."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter("rtx_requests", "Requests by door and outcome", ["door", "code"], registry=registry)
        self.seconds = Histogram(
            "rtx_request_seconds", "From arrival to answer, answered requests", ["door"], buckets=_SECONDS, registry=registry
        )
        self.queue_seconds = Histogram("rtx_queue_seconds", "Waiting for the policy", buckets=_SECONDS, registry=registry)
        self.policy_seconds = Histogram("rtx_policy_seconds", "One call of the policy", buckets=_SECONDS, registry=registry)
        self.batch_size = Histogram(
            "rtx_batch_size", "Observations answered by one call", buckets=(1, 2, 4, 8, 16, 32), registry=registry
        )
        self.connections = Gauge("rtx_connections", "Open websockets", registry=registry)
        self.episodes = Gauge("rtx_episodes", "Episodes whose frames are kept", registry=registry)
        self.waiting = Gauge("rtx_waiting", "Observations that wait for the policy", registry=registry)
        self.ready = Gauge("rtx_ready", "1 when the policy is compiled and answers", registry=registry)
        self.recorded_steps = Counter("rtx_recorded_steps", "Steps written to disk", registry=registry)
        self.recorded_episodes = Counter("rtx_recorded_episodes", "Episodes written to disk", registry=registry)
        self.record_lost_steps = Counter(
            "rtx_record_lost_steps", "Steps that were not recorded: disk full or too slow", registry=registry
        )

    def text(self) -> bytes:
        return generate_latest(self.registry)
