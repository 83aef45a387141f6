"""Model providers behind one protocol; importing this imports none of them."""

from streams.providers.limits import bounded
from streams.providers.protocol import ChatMessage, ModelDelta, ModelRequest, ModelUsage, Provider, Timeouts
from streams.providers.registry import ProviderOptions, create_provider

__all__ = [
    "ChatMessage",
    "ModelDelta",
    "ModelRequest",
    "ModelUsage",
    "Provider",
    "ProviderOptions",
    "Timeouts",
    "bounded",
    "create_provider",
]
