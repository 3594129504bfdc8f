"""Which run of a server is talked to: one that ended takes writes with it that it had confirmed.

A Redis that is started anew has what it saved last, and a replica that takes its master's place has
what had reached it. Both may have what was forgotten or overwritten since. So each server is asked
on each new connection which run of it this is; what was stored in another one is not believed.
"""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import Connection
from redis.exceptions import RedisClusterException, ResponseError

_RUN_ID = b"run_id:"


class Runs:
    """The runs of the servers that a client is connected to."""

    def __init__(self, client: Redis | RedisCluster) -> None:
        """Asks on each connection that `client` makes from now on."""
        self._client = client
        self._latest = b""
        self._by_node: dict[str, bytes] = {}
        if isinstance(client, Redis):
            _ask(client.connection_pool.connection_kwargs, self._greeted)
            return
        _ask(client.connection_kwargs, self._greeted)
        for node in client.startup_nodes:
            _ask(node.connection_kwargs, self._greeted)

    def of(self, name: str) -> bytes:
        """The run that holds what is called `name`; b"" where it is not told."""
        if isinstance(self._client, Redis):
            return self._latest
        try:
            slot = self._client.keyslot(name)
            node = self._client.nodes_manager.get_node_from_slot(slot)
        except RedisClusterException:
            return b""
        return self._by_node.get(node.name, b"")

    async def _greeted(self, connection: Connection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        try:
            lines = bytes(await connection.read_response()).splitlines()
        except ResponseError:
            lines = []  # it may be forbidden
        run = next((line.removeprefix(_RUN_ID) for line in lines if line.startswith(_RUN_ID)), b"")
        self._latest = run
        self._by_node[f"{connection.host}:{connection.port}"] = run


def _ask(options: dict[str, Any], greeted: Any) -> None:
    options["redis_connect_func"] = greeted
