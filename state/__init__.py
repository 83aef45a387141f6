"""Session memory: the fold, the table, its store and its recovery."""
