"""A small schema registry: the part of Confluent's REST interface that is used, over real HTTP on loopback."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from fastavro import parse_schema


class RegistryServer(ThreadingHTTPServer):
    """Keeps schemas by subject.

    Attributes:
        subjects: The ids of each subject's versions.
        schemas: What is answered for each id.
        requests: Every request, as ``METHOD path``.
        status: Answered instead of anything else, where it is not 0.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.subjects: dict[str, list[int]] = {}
        self.schemas: dict[int, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.status = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def register(self, subject: str, schema: dict[str, Any]) -> int:
        """The id of a schema, the same one for the same schema."""
        known = [schema_id for schema_id, each in self.schemas.items() if each == schema]
        schema_id = known[0] if known else len(self.schemas) + 1
        self.schemas[schema_id] = schema
        versions = self.subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return schema_id


class _Handler(BaseHTTPRequestHandler):
    server: RegistryServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        *_, subject, versions = self.path.split("/")
        assert versions == "versions"
        try:
            parse_schema(json.loads(body["schema"]))
        except Exception as error:  # noqa: BLE001 - as the real one: anything wrong is 422
            self._answer(422, {"error_code": 42201, "message": str(error)})
        else:
            self._answer(200, {"id": self.server.register(unquote(subject), body)})

    def do_GET(self) -> None:
        schema = self.server.schemas.get(int(self.path.rpartition("/")[2]))
        if schema is None:
            self._answer(404, {"error_code": 40403, "message": "Schema not found"})
        else:
            self._answer(200, schema)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self.server.requests.append(f"{self.command} {self.path}")
        if self.server.status:
            status, body = self.server.status, {"error_code": self.server.status, "message": "told to"}
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def running_registry() -> Iterator[RegistryServer]:
    """A registry that answers until the block ends."""
    server = RegistryServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
