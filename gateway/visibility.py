"""The records of studies as they exist for one consumer; hidden and absent are answered alike.

What does not exist for a consumer makes the gateway ask archives for as much as what nobody has:
a record that is remembered for others is no reason to answer sooner.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from gateway import disclosures
from gateway.archives import Archives
from gateway.counting import each_of, needs_instances
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
        target = Target(study_uid=study_uid)
        if not policy.is_restricted(self._consumer):
            return self._shown(await self._record(study_uid, level), target)
        loaded = await self._checked(target)
        if level is Level.INSTANCE:
            loaded = await self._record(study_uid, level)
        return self._shown(loaded, target)

    async def located(self, target: Target) -> Loaded:
        """The record of the study that a target is in, the target itself included.

        NotFound and Unavailable say the same whatever is missing: study, series or instance.
        """
        try:
            if not policy.is_restricted(self._consumer):
                return self._shown(await self._archives.located(target), target)
            known = self._archives.located_before(target)
            if known is not None and self._is_had(known, target):
                return self._shown(known, target)
            loaded = await self._checked(target)
            if not self._is_deep_enough(loaded.study, target):
                loaded = await self._archives.located(target)
        except NotFound:
            raise _absent(target) from None
        return self._shown(loaded, target)

    def listed(self, target: Target) -> Study | None:
        """A study in which `located` would find each instance of a target's series that is told.

        None: it takes asking for one by one. Only of a target that was located.
        """
        listed = self._archives.listed(target)
        if listed is None or policy.needs(self._consumer) is Level.INSTANCE:
            return None
        if policy.needs_copies(self._consumer, listed.loaded.study):
            return None
        return self._visible(listed.whole)

    async def studies(
        self, study_uids: Sequence[str], of: Level, named: Collection[str] = ()
    ) -> tuple[dict[str, Study], tuple[str, ...]]:
        """What is visible of each study, and who stayed silent over any of them.

        `of`: the level of the rows that are to be judged by it. `named`: the caller asks for these.
        """

        async def one(uid: str) -> Loaded:
            loaded = await self._record(uid, of)
            if not _is_deep(loaded.study) and needs_instances(loaded, is_exact=True):
                deeper = await self._archives.record(uid, Level.INSTANCE)
                loaded = replace(deeper, asked=loaded.asked)
            if uid in named and self._visible(loaded) is None:
                await self._archives.looked_again(Target(study_uid=uid), loaded)
            return loaded

        shown: dict[str, Study] = {}
        silent: dict[str, None] = {}
        for uid, found in (await each_of(study_uids, one)).items():
            if isinstance(found, Loaded):
                silent |= dict.fromkeys(found.silent)
                study = self._visible(found)
                if study is not None:
                    shown[uid] = study
                elif uid in named:
                    disclosures.denied(found.study)
            elif isinstance(found, Unavailable):
                silent |= dict.fromkeys(found.archives)
        return shown, tuple(silent)

    async def _record(self, study_uid: str, level: Level) -> Loaded:
        """The record of a study, unfiltered, as deep as `level` and the consumer's policy need."""
        if policy.looks_at_rejections(self._consumer):
            return await self._archives.rejected.marked(study_uid)
        deep = max(level, policy.needs(self._consumer), key=list(Level).index)
        loaded = await self._archives.record(study_uid, deep)
        if deep is not Level.INSTANCE and policy.needs_copies(self._consumer, loaded.study):
            deeper = await self._archives.record(study_uid, Level.INSTANCE)
            loaded = replace(deeper, asked=loaded.asked)
        return loaded

    async def _checked(self, target: Target) -> Loaded:
        """The record of a study of which a target's study and series exist for the consumer.

        Where they do not, archives are asked again, as they are for what nobody has.
        """
        try:
            loaded = await self._record(target.study_uid, Level.STUDY)
            study = self._visible(loaded)
            if study is None:
                await self._archives.looked_again(Target(study_uid=target.study_uid), loaded)
            elif not _has_series(study, target):
                await self._archives.looked_again(target, loaded)
                loaded = await self._record(target.study_uid, Level.STUDY)
                study = self._visible(loaded)
        except NotFound:
            raise _absent(target) from None
        if study is None or not _has_series(study, target):
            if study is None or _has_series(loaded.study, target):
                disclosures.denied(loaded.study)
            raise _absent(target, loaded)
        return loaded

    def _is_had(self, known: Loaded, target: Target) -> bool:
        """Whether what was located for others is enough to decide on, and shows the target."""
        if policy.needs(self._consumer) is Level.INSTANCE:
            return False
        study = self._visible(known)
        return study is not None and _holds(study, target)

    def _is_deep_enough(self, study: Study, target: Target) -> bool:
        """Whether a record that was decided on tells all that there is to know of a target."""
        if _is_deep(study) or policy.needs(self._consumer) is Level.INSTANCE:
            return True
        return target.instance_uid is None and not retrieval.needs_instances(study, target)

    def _visible(self, loaded: Loaded) -> Study | None:
        return policy.visible(self._consumer, loaded.study, loaded.parts)

    def _shown(self, loaded: Loaded, target: Target) -> Loaded:
        """What is visible of a record, if the target is; noted as shown, or else as denied."""
        study = self._visible(loaded)
        if study is not None and _holds(study, target):
            disclosures.shown(study)
            return Loaded(study=study, silent=loaded.silent, are_late=loaded.are_late)
        if _holds(loaded.study, target):
            disclosures.denied(loaded.study)
        raise _absent(target, loaded)


def _is_deep(study: Study) -> bool:
    return all(s.instances is not None for s in study.series or ())


def _has_series(study: Study, target: Target) -> bool:
    return target.series_uid is None or any(s.uid == target.series_uid for s in study.series or ())


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
