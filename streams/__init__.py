"""Running code: the app, lanes, turns, providers."""
