"""The Python client."""

from barnabas.client.client import Client
from barnabas.client.messages import Answer, Message, Part, Sent
from barnabas.client.stream import TokenStream
from barnabas.client.sync import SyncClient, SyncStream

__all__ = ["Answer", "Client", "Message", "Part", "Sent", "SyncClient", "SyncStream", "TokenStream"]
