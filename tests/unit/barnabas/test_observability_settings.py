"""What an operator may say of logs, endpoint, watchdog and traces."""

import json
import os
import subprocess
import sys

import pytest
from pydantic import ValidationError

from barnabas.composition import build_tracing, worker_options
from barnabas.settings import Settings
from schemas.errors import SettingsError
from streams.options import TracingOptions
from streams.tracing import NO_TRACING


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults, whatever this machine's environment says."""
    for name in os.environ:
        if name.startswith(("BARNABAS_", "OTEL_")):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_impossible_port_is_refused(port: int) -> None:
    """With its range."""
    with pytest.raises(ValidationError, match=f"port: {port} is impossible; it is 0"):
        Settings(monitoring={"port": port})  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["slack_s", "loop_block_s", "end_s"])
def test_watchdog_s_bounds_are_above_zero(field: str) -> None:
    """Zero would end every worker."""
    with pytest.raises(ValidationError, match=f"{field}: 0.0 is impossible"):
        Settings(watchdog={field: 0.0})  # type: ignore[arg-type]


def test_command_line_s_port_is_over_the_settings() -> None:
    """``up`` gives each of its workers its own."""
    settings = Settings(monitoring={"host": "0.0.0.0", "port": 9000})  # type: ignore[arg-type]
    assert worker_options(settings, "a:1").monitoring.port == 9000
    given = worker_options(settings, "a:1", monitoring_port=9001).monitoring
    assert (given.host, given.port) == ("0.0.0.0", 9001)


def test_tracing_is_off_unless_asked_for() -> None:
    """By default, and where OpenTelemetry's own switch says so."""
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    assert build_tracing(Settings(), worker="w", environ={}) is NO_TRACING
    assert build_tracing(Settings(), worker="w", environ=endpoint | {"OTEL_SDK_DISABLED": "true"}) is NO_TRACING


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        (TracingOptions(enabled=True), {}),
        (TracingOptions(endpoint="http://127.0.0.1:1/v1/traces"), {}),
        (TracingOptions(), {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}),
        (TracingOptions(), {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}),
    ],
)
def test_tracing_is_on_where_settings_or_customary_variables_ask(
    options: TracingOptions, environ: dict[str, str]
) -> None:
    """Nothing was traced, so its end reaches for no collector."""
    tracing = build_tracing(Settings(tracing=options), worker="w", environ=environ)
    assert tracing is not NO_TRACING
    tracing.close()


def test_tracing_without_its_packages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are an extra."""
    monkeypatch.delitem(sys.modules, "streams.otel", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(SettingsError, match=r"opentelemetry.sdk.trace is not installed.*barnabas\[otel\]"):
        build_tracing(Settings(tracing=TracingOptions(enabled=True)), worker="w", environ={})


def test_json_log_is_an_object_a_line_exceptions_included() -> None:
    """For a collector that splits at line ends."""
    code = (
        "import logging; from barnabas.logs import configure_logging; configure_logging('info', form='json')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: logging.getLogger('streams.lane').exception('bad %s', 'luck')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    record = json.loads(line)
    assert (record["message"], record["level"], record["logger"]) == ("bad luck", "error", "streams.lane")
    assert "ZeroDivisionError" in record["exception"]
