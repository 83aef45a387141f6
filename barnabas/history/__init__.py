"""Looking back: the log replayed, and a session as it was at any offset."""
