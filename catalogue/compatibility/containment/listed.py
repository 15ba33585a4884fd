"""The values that may come, beside those that a reader lists."""

from collections.abc import Iterable

from catalogue.compatibility.containment.comparing import Comparing, Gaps
from catalogue.compatibility.form import Form
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.place import Place
from catalogue.compatibility.values import Scalar, text

# A sentence names no more of them.
_MAX_NAMED = 10


def gaps(form: Form, reader: Place, compare: Comparing) -> Gaps:
    taken = compare.normal.listed(reader)
    if taken is None or form.whole in taken:
        return []
    keyword = "const" if "const" in reader.keywords else "enum"
    if form.whole is not None:
        return [over(form, reader.keyword(keyword), ())]
    if form.values is None:
        return [Gap("listed", form.at(keyword), reader.keyword(keyword), {})]
    values = [value for value in form.values if (form.kind, value) not in taken]
    return [over(form, reader.keyword(keyword), values)] if values else []


def over(form: Form, reader: str, values: Iterable[Scalar]) -> Gap:
    """The gap of values that a reader, by what stands there, does not take."""
    named = sorted(text(value) for value in values) or [f"another {form.kind}"]
    more = f" and {len(named) - _MAX_NAMED} more" if len(named) > _MAX_NAMED else ""
    words = {"values": ", ".join(named[:_MAX_NAMED]) + more}
    return Gap("enum_value", form.at("const" if "const" in form.stated else "enum"), reader, words)
