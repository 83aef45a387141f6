"""Benchmarks: each prints its figures beside what it is compared to, in one run."""
