"""Tests of `gateway.rules`."""
