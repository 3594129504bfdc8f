"""Which archives hold an instance whose frames are asked for, kept by who asks.

What decides on it, the record of its study and the policy, is the same for frame after frame, as
long as every value is current that the record was made from.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway import disclosures
from gateway.adapters.derived import Derived, Kept
from gateway.adapters.reads import reads_noted
from gateway.archives import Archives
from gateway.delivery import WayAhead
from gateway.disclosures import Disclosures
from gateway.errors import NotFound
from gateway.model import Consumer, Target
from gateway.rules import retrieval
from gateway.rules.media import Form
from gateway.rules.retrieval import Fetch
from gateway.visibility import Visibility

MAX_BYTES = 8 << 20
"""For all that is kept, with the values that it was made from."""
_HELD_BYTES = 1500
"""What one instance takes, for one who asks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An instance and who holds it; what of it is told to the audit trail, where there is one."""

    fetch: Fetch
    disclosed: Disclosures | None

    def frames(self, target: Target) -> Fetch:
        """The request for frames of it."""
        return Fetch(target=target, archives=self.fetch.archives)


class FrameHolders:
    """Which archives are asked for frames."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives
        self._kept: Derived[tuple[Consumer, Target], Held] = Derived(
            archives.cache, max_bytes=MAX_BYTES
        )

    async def fetch(self, consumer: Consumer, target: Target) -> Fetch:
        """The request for frames; NotFound where they do not exist for the consumer."""
        key = consumer, target.instance
        held = self._kept.found(key)
        if held is None:
            with reads_noted() as reads:
                held = await self._held(consumer, target.instance)
            self._kept.keep(key, held, _HELD_BYTES, reads)
        else:
            disclosures.repeat(held.disclosed)
        return held.frames(target)

    def known(self, consumer: Consumer, instance: Target) -> Kept[Held] | None:
        """What is kept of an instance for a consumer; None: nothing that is current."""
        return self._kept.kept((consumer, instance))

    def is_good(self, kept: Kept[Held]) -> bool:
        """Whether what was known would be known now, too."""
        return self._kept.is_good(kept)

    def way(self, held: Held, form: Form) -> WayAhead | None:
        """How frames of what is held are asked for ahead; None: they are not."""
        return self._archives.delivery.way_to_frames(held.fetch, form)

    async def _held(self, consumer: Consumer, instance: Target) -> Held:
        loaded = await Visibility(self._archives, consumer).located(instance)
        planned = retrieval.plan(loaded.study, instance)
        if not planned or not retrieval.may_have_frames(loaded.study, instance):
            raise NotFound("this instance has no frames")
        return Held(fetch=planned[0], disclosed=disclosures.copied())
