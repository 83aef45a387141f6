"""Runs the application on uvicorn, and ends it in time."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import uvicorn

from barnabas.gateway.app import make_app
from barnabas.gateway.connection_guard import GuardedWebSocketProtocol, bound_sockets
from barnabas.gateway.file_limit import raise_file_limit
from barnabas.gateway.gateway import Gateway
from barnabas.gateway.security.bounded_protocol import BoundedProtocol
from barnabas.gateway.security.exposure import check_certificate, check_exposure, warnings_of
from barnabas.settings import Settings
from schemas.errors import SettingsError

logger = logging.getLogger(__name__)

#: Beyond the time that answers under way are given: they say that they end.
_LAST_WORDS_S: Final = 2.0

_BACKLOG: Final = 2048


class GatewayServer:
    """One gateway in this process.

    Args:
        settings: The deployment's; ``gateway`` says where to listen.
        on_ready: Called with its address once it answers.
    """

    def __init__(self, settings: Settings, *, on_ready: Callable[[str], object] = lambda _url: None) -> None:
        self._settings = settings
        self._on_ready = on_ready
        self.gateway = Gateway(settings)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            SettingsError: The address cannot be had, or is reached by others and nobody is asked who they are; or
                there is no such certificate.
            BrokerError: No Kafka is known or answers, or it has no such deployment.
            TopicMismatchError: The topics have another number of partitions than the settings say.
        """
        options = self._settings.gateway
        check_exposure(self._settings)
        check_certificate(self._settings)
        for warning in warnings_of(self._settings):
            logger.warning(warning)
        with _listening(options.host, options.port) as listener:
            bound_sockets(listener)
            raise_file_limit()
            try:
                await self.gateway.open()
                await self._serve(listener)
            finally:
                await self.gateway.close()

    async def _serve(self, listener: socket.socket) -> None:
        options = self._settings.gateway
        security = options.security
        config = uvicorn.Config(
            make_app(self._settings, gateway=self.gateway),
            loop="none",
            http=partial(  # type: ignore[arg-type]  # called as the class would be
                BoundedProtocol,
                max_head_bytes=security.max_head_bytes,
                head_timeout_s=security.head_timeout_s,
                write_timeout_s=options.send_timeout_s,
            ),
            ws=partial(GuardedWebSocketProtocol, write_timeout_s=options.send_timeout_s),  # type: ignore[arg-type]
            ws_max_size=options.max_body_bytes,
            ws_ping_interval=options.heartbeat_s,
            ws_ping_timeout=options.send_timeout_s,
            ws_per_message_deflate=False,  # its state takes more memory than the rest of a stream
            lifespan="on",
            log_config=None,
            log_level="warning",  # it logs each WebSocket's whole query, and with it whatever is secret there
            access_log=False,
            server_header=False,
            proxy_headers=bool(security.trusted_proxies),
            forwarded_allow_ips=list(security.trusted_proxies),
            ssl_certfile=options.tls.certificate,
            ssl_keyfile=options.tls.key,
            backlog=_BACKLOG,
            timeout_keep_alive=max(1, round(options.keep_alive_s)),
            timeout_graceful_shutdown=round(options.drain_timeout_s + _LAST_WORDS_S) or 1,
        )
        server = _Server(config, self.gateway)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, server.stop)
        loop.add_signal_handler(signal.SIGINT, server.interrupt)
        ready = asyncio.create_task(self._announce(server, listener))
        try:
            await server.serve([listener])
        finally:
            ready.cancel()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def _announce(self, server: uvicorn.Server, listener: socket.socket) -> None:
        while not server.started:  # noqa: ASYNC110 -- uvicorn has no event for it
            await asyncio.sleep(0.005)
        is_tls = self._settings.gateway.tls.certificate is not None
        self._on_ready(url_of(listener, scheme="https" if is_tls else "http"))


class _Server(uvicorn.Server):
    """Ends open streams before it waits for them; leaves signals to whoever runs it."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    def stop(self) -> None:
        """Begin to end; repeatable."""
        self.should_exit = True

    def interrupt(self) -> None:
        """Begin to end; a second time: at once."""
        self.force_exit = self.should_exit
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, end what is open, and wait for it."""
        self._gateway.streams.stop()
        patience = self._gateway.options.drain_timeout_s
        last_call = asyncio.get_running_loop().call_later(patience, self._gateway.streams.end_all)
        try:
            await super().shutdown(sockets)
        finally:
            last_call.cancel()


def url_of(listener: socket.socket, *, scheme: str = "http") -> str:
    """Return the address that a socket listens on."""
    host, port, *_ = listener.getsockname()
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the address, before anything else begins."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _taken(host, port, error) from error
    with made:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind(address)
            made.listen(_BACKLOG)
        except OSError as error:
            raise _taken(host, port, error) from error
        yield made


def _taken(host: str, port: int, error: OSError) -> SettingsError:
    return SettingsError(
        f"gateway.port: {host}:{port} cannot be listened on ({error.strerror or error}); "
        "set another with --port or BARNABAS_GATEWAY__PORT, 0 for a free one"
    )
