"""Measurements, each a program of its own, side by side with what it is compared with."""
