"""The kinds of values that may come, beside those that a reader's `type` takes."""

from collections.abc import Iterable

from catalogue.compatibility.containment.comparing import Gaps
from catalogue.compatibility.form import Form, kinds, names
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.limits import Numbers
from catalogue.compatibility.normal import Forms
from catalogue.compatibility.place import Place


def gaps(forms: Forms, reader: Place) -> Gaps:
    """One gap for all kinds that do not fit."""
    taken = kinds(reader)
    coming = {form.kind for form in forms}
    over = [form for form in forms if form.kind not in taken]
    if not over:
        return []
    words = {
        "over": either(map(_name, over)),
        "coming": either(map(_name, forms)),
        "taken": either(names(reader)),
    }
    subject = "type" if coming & taken else "other_type"
    return [Gap(subject, over[0].at("type"), reader.keyword("type"), words)]


def either(types: Iterable[str]) -> str:
    """For a sentence."""
    return " or ".join(f"`{name}`" for name in sorted(set(types)))


def _name(form: Form) -> str:
    limits = form.limits
    is_whole = isinstance(limits, Numbers) and limits.step is not None and limits.step % 1 == 0
    return "integer" if is_whole else form.kind
