"""The whole gateway against real archives, Redis, clients and a browser."""
