"""The HTTP endpoint, on a thread of its own: a blocked event loop is reported, not waited for."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from schemas.errors import SettingsError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: A report: whether it is good, and what to say.
Answer = Callable[[], tuple[bool, dict[str, Any]]]

#: How soon :meth:`MonitoringServer.close` is heard.
_POLL_S: Final = 0.05

#: Longest a client may take to send its request.
_REQUEST_S: Final = 10.0


class MonitoringServer:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz``; read-only and without secrets."""

    def __init__(self, host: str, port: int, *, registry: CollectorRegistry, health: Answer, readiness: Answer) -> None:
        """Listen; nothing is answered before :meth:`start`.

        Raises:
            SettingsError: The address cannot be had.
        """
        application = _application(make_wsgi_app(registry), {"/healthz": health, "/readyz": readiness})
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            self._server = _Server(address, family)
        except (OSError, OverflowError) as error:
            raise SettingsError(
                f"monitoring.port: {host}:{port} cannot be listened on ({error}); "
                "set another, 0 for a free one, or monitoring.enabled to false"
            ) from error
        self._server.set_app(application)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="barnabas-monitoring", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening; blocks for a moment."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _application(metrics: WSGIApplication, answers: dict[str, Answer]) -> WSGIApplication:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, body = HTTPStatus.METHOD_NOT_ALLOWED, {"error": "only GET and HEAD are answered"}
        elif path == "/metrics":
            return metrics(environ, start_response)
        elif path in answers:
            is_good, body = answers[path]()
            status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
        else:
            status, body = HTTPStatus.NOT_FOUND, {"error": f"there are /metrics, {', '.join(answers)}"}
        content = json.dumps(body).encode() + b"\n"
        start_response(
            f"{status.value} {status.phrase}",
            [
                ("Content-Type", "application/json"),
                ("Content-Length", str(len(content))),
                ("Cache-Control", "no-store"),
            ],
        )
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [content]

    return application


class _Handler(WSGIRequestHandler):
    timeout = _REQUEST_S

    def log_message(self, *_args: object) -> None:
        """Say nothing: probes come every few seconds."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: Any, family: int) -> None:
        self.address_family = family
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without asking the name service who we are."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, *_args: object) -> None:
        """Say nothing: a client that went away is no error of ours."""
