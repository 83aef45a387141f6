"""What a worker answers about the sessions it owns: the read interface that gateways ask."""
