"""Reads a worker's monitoring endpoint."""

from __future__ import annotations

import json
import time
import urllib.request
from typing import Any
from urllib.error import HTTPError, URLError

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.patience import ANSWER_S, CONDITION_S


class Endpoint:
    """One worker's ``/healthz``, ``/readyz`` and ``/metrics``."""

    def __init__(self, url: str) -> None:
        """Take its address, such as ``http://127.0.0.1:9464``."""
        self.url = url

    def get(self, path: str, *, method: str = "GET") -> tuple[int, bytes]:
        """Return status and body."""
        request = urllib.request.Request(self.url + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as response:
                return response.status, response.read()
        except HTTPError as error:
            with error:
                return error.code, error.read()

    def report(self, path: str) -> tuple[int, dict[str, Any]]:
        """Return status and report of ``/healthz`` or ``/readyz``; 0 while nothing listens."""
        try:
            status, body = self.get(path)
        except (URLError, ConnectionError, TimeoutError):
            return 0, {}
        return status, json.loads(body)

    def families(self) -> list[Metric]:
        """Return what ``/metrics`` shows."""
        status, body = self.get("/metrics")
        assert status == 200, body
        return [*text_string_to_metric_families(body.decode())]

    def value(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's series that have these labels."""
        return sum(
            sample.value
            for family in self.families()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def wait(self, path: str, status: int, *, containing: str = "", timeout_s: float = CONDITION_S) -> Any:
        """Ask until ``path`` answers with ``status`` and a problem that contains this; returns its report."""
        deadline = time.monotonic() + timeout_s
        while True:
            found, report = self.report(path)
            if found == status and (not containing or any(containing in problem for problem in report["problems"])):
                return report
            assert time.monotonic() < deadline, f"{path} is {found}, not {status}, after {timeout_s:g} s: {report}"
            time.sleep(0.02)
