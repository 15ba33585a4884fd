"""Numbers that may come, beside a reader's bounds and steps."""

from collections.abc import Callable
from fractions import Fraction

from catalogue.compatibility.containment.comparing import Gaps
from catalogue.compatibility.form import Form
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.limits import Bound, Numbers
from catalogue.compatibility.limits.bounds import number
from catalogue.compatibility.limits.numbers import above, is_whole, under
from catalogue.compatibility.place import Place
from catalogue.compatibility.values import text

Within = Callable[[Bound, Bound], bool]

_LOWER: tuple[tuple[str, bool], ...] = (("minimum", False), ("exclusiveMinimum", True))
_UPPER: tuple[tuple[str, bool], ...] = (("maximum", False), ("exclusiveMaximum", True))


def gaps(form: Form, limits: Numbers, reader: Place) -> Gaps:
    found = [
        _bound(form, reader, keyword, reader_bound)
        for keyword, reader_bound, own, within in _bounds(limits, reader)
        if not _keeps_to(limits, own, reader_bound, within)
    ]
    step = number(reader.keywords, "multipleOf")
    if step is not None and not _in_steps(limits, step):
        found.append(_bound(form, reader, "multipleOf", Bound(step)))
    if is_whole(reader) and not _in_steps(limits, Fraction(1)):
        found.append(Gap("integer", form.at("type"), reader.keyword("type"), {}))
    return found


def _bounds(limits: Numbers, reader: Place) -> list[tuple[str, Bound, Bound | None, Within]]:
    found: list[tuple[str, Bound, Bound | None, Within]] = []
    for words, own, within in ((_LOWER, limits.lower, above), (_UPPER, limits.upper, under)):
        for keyword, exclusive in words:
            value = number(reader.keywords, keyword)
            if value is not None:
                found.append((keyword, Bound(value, exclusive), own, within))
    return found


def _keeps_to(limits: Numbers, own: Bound | None, bound: Bound, within: Within) -> bool:
    if own is not None and within(own, bound):
        return True
    return limits.values is not None and all(
        isinstance(value, Fraction) and within(Bound(value), bound) for value in limits.values
    )


def _in_steps(limits: Numbers, step: Fraction) -> bool:
    if limits.step is not None and limits.step % step == 0:
        return True
    return limits.values is not None and all(
        isinstance(value, Fraction) and value % step == 0 for value in limits.values
    )


def _bound(form: Form, reader: Place, keyword: str, bound: Bound) -> Gap:
    words = {"keyword": keyword, "limit": text(bound.value)}
    return Gap("bound", form.at(keyword), reader.keyword(keyword), words)
