"""Every error that the installed library knows has its one place."""

from confluent_kafka import KafkaError

from relay.kafka import errors

FAMILIES = (
    errors.NEVER,
    errors.UNWRITABLE,
    errors.PURGED,
    errors.BEHIND_A_REFUSAL,
    errors.PRODUCER_ENDS,
    errors.AWAY,
    errors.NOT_ASKED_FOR,
)


def known() -> dict[int, str]:
    """The library's constants, by their codes."""
    names = [name for name in vars(KafkaError) if name.strip("_").replace("_", "").isupper()]
    return {getattr(KafkaError, name): name for name in names}


def test_each_error_of_the_library_stands_in_one_family_and_no_other() -> None:
    assert len(known()) > 180
    places = {name: sum(code in one for one in FAMILIES) for code, name in known().items()}
    assert {name: count for name, count in places.items() if count != 1} == {}


def test_what_is_missing_waits_as_what_is_unwritable_does() -> None:
    assert errors.MISSING < errors.UNWRITABLE
