"""Overtile."""
