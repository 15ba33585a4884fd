"""The formats that are asserted, each as a pattern, so that every path gives the same answer.

Validators differ about all of them (leap seconds, braces around a UUID, quoted local parts), and a
day that no calendar has is no date for any of ours. Other formats are annotations.
"""

UUID = r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$"

_DAY = (
    r"(?:\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|02-(?:0[1-9]|1\d|2[0-8]))"
    # The years that have a 29 February.
    r"|(?:\d\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
)
_HOUR_AND_MINUTE = r"(?:[01]\d|2[0-3]):[0-5]\d"

# RFC 3339, full-date.
DATE = f"^{_DAY}$"

# RFC 3339, date-time, without leap seconds: few clocks and no type of Postgres have them.
DATE_TIME = f"^{_DAY}[Tt]{_HOUR_AND_MINUTE}:[0-5]\\d(?:\\.\\d+)?(?:[Zz]|[+-]{_HOUR_AND_MINUTE})$"

# What a browser takes for one (HTML, "valid email address"), with labels of any length.
EMAIL = (
    r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@"
    r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*$"
)

FORMATS = {"uuid": UUID, "date": DATE, "date-time": DATE_TIME, "email": EMAIL}
