"""What stands in the way of registering an event type, as a Problem."""

from psycopg import errors as sqlstates

from catalogue import faults
from catalogue.registration import Incompatible, advice
from catalogue.rules import Untranslatable
from catalogue.schema import SchemaFault
from service.problems import Break, Fault, Problem, unavailable


def unregistrable(type_: str, refusal: Exception) -> Problem:
    """422 for a schema that is none or that SQL can't keep, 409 for what it would break."""
    if isinstance(refusal, Incompatible):
        return _incompatible(type_, refusal)
    assert isinstance(refusal, SchemaFault | Untranslatable)
    pointer, keyword = f"/schema{refusal.pointer}", "schema"
    if isinstance(refusal, Untranslatable):
        keyword = refusal.keyword
        pointer += f"/{keyword}"
    fault = Fault(pointer=pointer, keyword=keyword, detail=refusal.reason)
    detail = f'schema does not fit: at "{pointer}": {refusal.reason}.'
    return Problem(422, detail, field="schema", faults=[fault])


def _incompatible(type_: str, refusal: Incompatible) -> Problem:
    breaks = [
        Break(
            version=one.version or 0,
            pointer=one.pointer,
            rule=one.rule,
            harms=one.harms,
            detail=one.detail,
        )
        for one in refusal.breaks
    ]
    first = breaks[0]
    detail = (
        f'schema is not compatible with version {first.version}: at "{first.pointer}": '
        f"{first.detail} {advice(type_)}."
    )
    return Problem(409, detail, field="schema", breaks=breaks)


def refused(error: sqlstates.CheckViolation) -> Problem:
    """409 or 422 for what the database refuses; other errors are raised again."""
    match error.diag.constraint_name, error.diag.column_name:
        case "event_types_are_within_the_quota", _:
            return Problem(409, f"{error.diag.message_primary}.")
        case "only_a_type_that_nobody_published_is_deleted", _:
            hint = error.diag.message_hint
            return Problem(409, f"{error.diag.message_primary}. {hint}")
        case _, "example":
            return Problem(422, f"{error.diag.message_primary}.", field="example")
        case "version_is_1_to_1000", _:
            return Problem(409, "The type has 1000 versions: register one of another name.")
        case "successor_is_another_type_of_one_that_is_deprecated", _:
            detail = "deprecation.successor is the type itself."
            return Problem(422, detail, field="deprecation.successor")
        case "example_is_at_most_65536_bytes", _:
            return Problem(422, "example is larger than 65536 bytes.", field="example")
    raise error


def unfit_example(fault: faults.Fault) -> Problem:
    """422, in SQL's own words."""
    pointer, keyword, detail = fault
    said = f'the example does not fit the schema: at "{pointer}" ({keyword}): {detail}.'
    return Problem(422, said, field="example")


def log_is_held(error: sqlstates.LockNotAvailable) -> Problem:
    """503: the first type that is enforced has to wait for those that write to the log."""
    diag = error.diag
    return unavailable(f"{diag.message_primary}. {diag.message_detail} {diag.message_hint}")
