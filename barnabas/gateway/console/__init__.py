"""The console: a page for people at ``/``, and its assets; made from ``console/`` by ``make console``."""

from barnabas.gateway.console.pages import routes

__all__ = ["routes"]
