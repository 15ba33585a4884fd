"""Branches: what may come has to be within one of a reader's `anyOf`, or within just one of its
`oneOf`.
"""

from collections.abc import Callable

from catalogue.compatibility.conditions import is_said
from catalogue.compatibility.containment.comparing import Comparing, Gaps
from catalogue.compatibility.containment.kinds import either
from catalogue.compatibility.containment.listed import over
from catalogue.compatibility.form import Condition, Form, kinds, names
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.place import Place


def any_of(form: Form, reader: Place, compare: Comparing) -> Gaps:
    branches = reader.listed("anyOf")
    found = _nearest(form, reader, "anyOf", branches, compare)
    return _by_value(form, found, lambda one: any_of(one, reader, compare))


def one_of(form: Form, reader: Place, compare: Comparing) -> Gaps:
    """Either the writer's own `oneOf` is the same, or no value is within two branches.

    Branches that say `additionalProperties: false` are tried as a reader takes them, and as they
    are written: it may be what tells them apart.
    """
    if is_said(Condition("oneOf", reader), form.conditions, compare.steps):
        return []
    branches = reader.listed("oneOf")
    for some in (branches, tuple(branch.as_written() for branch in branches)):
        if _is_in_one(form, some, compare):
            return []
    found = _nearest(form, reader, "oneOf", branches, compare)
    if not found:
        what = "whether what may come fits just one branch of `oneOf`"
        found = [Gap("cannot_be_shown", form.at("oneOf"), reader.keyword("oneOf"), {"what": what})]
    return _by_value(form, found, lambda one: one_of(one, reader, compare))


def _is_in_one(form: Form, branches: tuple[Place, ...], compare: Comparing) -> bool:
    apart = [branch for branch in branches if not compare.normal.overlap(form, branch)]
    near = [branch for branch in branches if branch not in apart]
    return len(near) == 1 and not compare.within((form,), near[0])


def _nearest(
    form: Form, reader: Place, keyword: str, branches: tuple[Place, ...], compare: Comparing
) -> Gaps:
    """The gaps to the branch that takes the most of what may come, none where one takes all."""
    near = [branch for branch in branches if compare.normal.overlap(form, branch)]
    tried: list[Gaps] = []
    for branch in near:
        found = compare.within((form,), branch)
        if not found:
            return []
        tried.append(found)
    if not tried:
        return [_no_branch(form, reader, keyword, branches)]
    return min(tried, key=len)


def _no_branch(form: Form, reader: Place, keyword: str, branches: tuple[Place, ...]) -> Gap:
    if form.values is not None and form.kind in ("number", "string"):
        return over(form, reader.keyword(keyword), form.values)
    if not any(form.kind in kinds(branch) for branch in branches):
        taken = either(name for branch in branches for name in names(branch))
        words = {"over": f"`{form.kind}`", "coming": f"`{form.kind}`", "taken": taken}
        return Gap("type", form.at("type"), reader.keyword(keyword), words)
    return Gap("branch", form.pointer, reader.keyword(keyword), {"keyword": keyword})


def _by_value(form: Form, found: Gaps, ask: Callable[[Form], Gaps]) -> Gaps:
    """Where values are listed, each may be within a branch of its own."""
    if not found or form.values is None or len(form.values) < 2:
        return found
    return [gap for one in form.single() for gap in ask(one)]
