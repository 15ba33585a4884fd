"""One comparison of a writer with a reader, from the whole down to every property."""

from catalogue.compatibility.conditions import asked, is_said
from catalogue.compatibility.containment import (
    arrays,
    branches,
    kinds,
    listed,
    numbers,
    objects,
    strings,
)
from catalogue.compatibility.containment.comparing import Gaps
from catalogue.compatibility.form import Condition, Form
from catalogue.compatibility.form import kinds as kinds_of
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.limits import Arrays, Numbers, Objects, Strings
from catalogue.compatibility.normal import Forms, Normal
from catalogue.compatibility.place import Location, Place, conjuncts
from catalogue.compatibility.steps import Steps

_Pair = tuple[Location, Place]


class Comparison:
    """Remembers what it has found of every pair.

    Schemas may refer to themselves: a pair that is met again while it is being compared is taken to
    fit. Where it turns out not to, all is compared once more with what is known by then to have
    gaps, until nothing was taken wrongly.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.normal = Normal(steps)
        self._found: dict[_Pair, Gaps] = {}
        self._begun: set[_Pair] = set()
        self._taken_to_fit: set[_Pair] = set()

    def gaps(self, writer: Place, reader: Place) -> Gaps:
        """All gaps, none where all that the writer may write fits. Raises OutOfSteps."""
        while True:
            self._taken_to_fit.clear()
            gaps = self.contained((writer,), reader)
            if gaps or not any(self._found[pair] for pair in self._taken_to_fit):
                return gaps
            self._found = {pair: found for pair, found in self._found.items() if found}

    def contained(self, writer: Location, reader: Place) -> Gaps:
        pair = (writer, reader)
        if pair in self._begun:
            self._taken_to_fit.add(pair)
            return []
        if pair not in self._found:
            self._begun.add(pair)
            with self.steps:
                forms = self.normal.forms(writer)
                possible = tuple(form for form in forms if self.normal.possible(form))
                self._found[pair] = _once(self.within(possible, reader))
            self._begun.remove(pair)
        return self._found[pair]

    def within(self, forms: Forms, reader: Place) -> Gaps:
        if reader.schema is True or not forms:
            return []
        if reader.schema is False:
            return [Gap("nothing", forms[0].pointer, reader.pointer, {})]
        with self.steps:
            found = kinds.gaps(forms, reader)
            fitting = [form for form in forms if form.kind in kinds_of(reader)]
            for form in fitting:
                found += self._own(form, reader)
            for part in conjuncts(reader):
                found += self.within(forms, part)
            return found

    def _own(self, form: Form, reader: Place) -> Gaps:
        """By the reader's own keywords, but for `type` and what it asks for besides."""
        self.steps.take()
        found = listed.gaps(form, reader, self)
        match form.limits:
            case Numbers():
                found += numbers.gaps(form, form.limits, reader)
            case Strings():
                found += strings.gaps(form, form.limits, reader)
            case Arrays():
                found += arrays.gaps(form, form.limits, reader, self)
            case Objects():
                found += objects.gaps(form, form.limits, reader, self)
        if "anyOf" in reader.keywords:
            found += branches.any_of(form, reader, self)
        if "oneOf" in reader.keywords:
            found += branches.one_of(form, reader, self)
        for condition in asked(reader):
            found += self._condition(form, condition)
        return found

    def _condition(self, form: Form, condition: Condition) -> Gaps:
        """What is compared as it is written: the writer has to ask the same."""
        if is_said(condition, form.conditions, self.steps):
            return []
        keyword, place = condition.keyword, condition.place
        if keyword == "not" and not self.normal.overlap(form, place.as_written().at("not")):
            return []
        pointers = form.at(keyword), place.keyword(keyword)
        what = f"whether all that may come keeps to `{keyword}`"
        return [Gap("cannot_be_shown", *pointers, {"what": what})]


def _once(gaps: Gaps) -> Gaps:
    """Each gap once."""
    found = {(gap.subject, gap.writer, tuple(gap.words.items())): gap for gap in gaps}
    return list(found.values())
