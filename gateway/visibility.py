"""The records of studies as they exist for one consumer; hidden and absent are answered alike."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import disclosures
from gateway.archives import Archives
from gateway.counting import records_of
from gateway.errors import GatewayError, NotFound, Unavailable
from gateway.fan_out import silence
from gateway.model import Consumer, Level, Loaded, Study, Target
from gateway.rules import policy, retrieval


class Visibility:
    """What exists for `consumer` of what `archives` hold."""

    def __init__(self, archives: Archives, consumer: Consumer) -> None:
        self._archives = archives
        self._consumer = consumer

    async def study(self, study_uid: str, level: Level) -> Loaded:
        """The record of a study, loaded down to `level`.

        NotFound when it does not exist for the consumer; Unavailable when a silent archive might
        have it.
        """
        deep = max(level, policy.needs(self._consumer), key=list(Level).index)
        loaded = await self._archives.record(study_uid, deep)
        if policy.needs_copies(self._consumer, loaded.study):
            loaded = await self._archives.record(study_uid, Level.INSTANCE)
        return self._shown(loaded, Target(study_uid=study_uid))

    async def located(self, target: Target) -> Loaded:
        """The record of the study that a target is in, the target itself included.

        NotFound and Unavailable say the same whatever is missing: study, series or instance.
        """
        try:
            loaded = await self._archives.located(target)
            if policy.needs(self._consumer) is Level.INSTANCE:
                loaded = await self._archives.record(target.study_uid, Level.INSTANCE)
        except NotFound:
            raise _absent(target) from None
        return self._shown(loaded, target)

    async def studies(
        self, study_uids: Sequence[str], of: Level
    ) -> tuple[dict[str, Study], tuple[str, ...]]:
        """What is visible of each study, and who stayed silent over any of them.

        `of`: the level of the rows that are to be judged by it.
        """
        level = Level.INSTANCE if of is Level.INSTANCE else policy.needs(self._consumer)
        found = await records_of(self._archives, study_uids, level=level, is_exact=True)
        shown: dict[str, Study] = {}
        silent: dict[str, None] = {}
        for uid, one in found.items():
            if isinstance(one, Loaded):
                silent |= dict.fromkeys(one.silent)
                study = policy.visible(self._consumer, one.study, one.parts)
                if study is None:
                    disclosures.denied(one.study)
                else:
                    shown[uid] = study
            elif isinstance(one, Unavailable):
                silent |= dict.fromkeys(one.archives)
        return shown, tuple(silent)

    def _shown(self, loaded: Loaded, target: Target) -> Loaded:
        """What is visible of a record, if the target is; noted as shown, or else as denied."""
        study = policy.visible(self._consumer, loaded.study, loaded.parts)
        if study is not None and _holds(study, target):
            disclosures.shown(study)
            return Loaded(study=study, silent=loaded.silent, are_late=loaded.are_late)
        if _holds(loaded.study, target):
            disclosures.denied(loaded.study)
        raise _absent(target, loaded)


def _holds(study: Study, target: Target) -> bool:
    """Whether a target is in its study."""
    if target.instance_uid is not None:
        return retrieval.instance_in(study, target) is not None
    return target.level is Level.STUDY or bool(retrieval.plan(study, target))


def _absent(target: Target, loaded: Loaded | None = None) -> GatewayError:
    """What is said of a target that does not exist for the consumer, whatever is the reason."""
    if loaded is not None and loaded.silent:
        return silence(loaded.silent, are_late=loaded.are_late)
    level = Level.INSTANCE if target.level is Level.FRAME else target.level
    return NotFound(f"no such {level.value}")
