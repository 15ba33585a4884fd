"""How many there are at least and at most, of characters, items or properties."""

from catalogue.compatibility.containment.comparing import Gaps
from catalogue.compatibility.form import Form
from catalogue.compatibility.gap import Gap
from catalogue.compatibility.limits.bounds import count
from catalogue.compatibility.place import Place


def gaps(
    form: Form, reader: Place, keywords: tuple[str, str], fewest: int, most: int | None
) -> Gaps:
    """`keywords` are the reader's lower and upper one; between `fewest` and `most` may come."""
    lower, upper = keywords
    found = []
    least, highest = count(reader.keywords, lower), count(reader.keywords, upper)
    if least is not None and fewest < least:
        found.append(_gap(form, reader, lower, least))
    if highest is not None and (most is None or most > highest):
        found.append(_gap(form, reader, upper, highest))
    return found


def _gap(form: Form, reader: Place, keyword: str, limit: int) -> Gap:
    words = {"keyword": keyword, "limit": str(limit)}
    return Gap("bound", form.at(keyword), reader.keyword(keyword), words)
