"""Names that tell nothing, and marks that tell all that a value hangs on."""

from __future__ import annotations

from gateway.adapters.cache_names import Group, Key, Names

UID = "1.2.840.113619.2.5"
KEY = Key(f"record {UID} north", study_uid=UID, archives=("north", "south"))


def test_value_bears_its_own_mark_and_those_of_its_groups() -> None:
    names = Names()
    groups = [Group(study_uid=UID), Group(), Group(archive="north"), Group(archive="south")]
    assert names.marks(KEY) == (names.mark(KEY), *(names.mark(group) for group in groups))
    assert len(set(names.marks(KEY))) == 5


def test_names_of_a_study_share_a_hash_slot() -> None:
    names, other = Names(), Key("metadata", study_uid=UID)
    slots = {
        name.split("}")[0] for name in (names.value(KEY), names.value(other), *names.marks(KEY)[:2])
    }
    assert len(slots) == 1
    assert names.value(KEY) != names.value(other)
    assert len({name.split("}")[0] for name in names.marks(KEY)[2:]}) == 1


def test_no_identifier_is_readable_in_a_name() -> None:
    for names in (Names(), Names(b"secret")):
        for name in (names.value(KEY), names.lasting(KEY), *names.marks(KEY)):
            assert UID not in name
            assert "north" not in name


def test_names_cannot_be_made_without_the_secret() -> None:
    made = {Names(secret).value(KEY) for secret in (b"", b"one", b"another")}
    assert len(made) == 3
    assert Names(b"one").value(KEY) in made


def test_key_is_the_string_that_it_is_called_by() -> None:
    assert Key("record a", study_uid="1") == "record a"
    assert {Key("record a", study_uid="1"), Key("record a", study_uid="1")} == {"record a"}
