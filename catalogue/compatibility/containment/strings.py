"""Strings that may come, beside a reader's lengths, pattern and format."""

from typing import cast

from catalogue.compatibility.containment import counts
from catalogue.compatibility.containment.comparing import Gaps
from catalogue.compatibility.form import Form
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.limits import Strings
from catalogue.compatibility.matching import matches
from catalogue.compatibility.place import Place


def gaps(form: Form, limits: Strings, reader: Place) -> Gaps:
    lengths = [len(cast("str", value)) for value in limits.values or ()]
    fewest = min(lengths, default=limits.shortest)
    most = max(lengths) if lengths else limits.longest
    found = counts.gaps(form, reader, ("minLength", "maxLength"), fewest, most)
    return found + _pattern(form, limits, reader) + _format(form, limits, reader)


def _pattern(form: Form, limits: Strings, reader: Place) -> Gaps:
    pattern = cast("str | None", reader.keywords.get("pattern"))
    if pattern is None or pattern in limits.patterns:
        return []
    if limits.values is not None:
        if all(matches(pattern, cast("str", value)) is True for value in limits.values):
            return []
        return [_unknown(form, reader, "pattern", "whether every listed value fits the pattern")]
    if limits.patterns:
        return [_unknown(form, reader, "pattern", "whether every text of one pattern fits another")]
    return [Gap("pattern", form.at("pattern"), reader.keyword("pattern"), {"pattern": pattern})]


def _format(form: Form, limits: Strings, reader: Place) -> Gaps:
    name = cast("str | None", reader.keywords.get("format"))
    if name is None or name in limits.formats:
        return []
    if limits.values is not None or limits.formats:
        return [_unknown(form, reader, "format", f"whether all that may come is a {name}")]
    return [Gap("format", form.at("format"), reader.keyword("format"), {"format": name})]


def _unknown(form: Form, reader: Place, keyword: str, what: str) -> Gap:
    return Gap("cannot_be_shown", form.at(keyword), reader.keyword(keyword), {"what": what})
