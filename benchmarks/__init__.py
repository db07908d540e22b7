"""Benchmarks: what training costs."""
