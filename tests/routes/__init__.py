"""Tests of `gateway.routes`."""
