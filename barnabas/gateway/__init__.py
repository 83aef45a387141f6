"""The door: HTTP over client, fan-out and history."""
