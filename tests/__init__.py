"""Tests of the gateway; the folder mirrors the package, `e2e` runs all of it on real servers."""
