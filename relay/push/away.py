"""Why no message can go to a queue or topic."""


class Away(Exception):
    """One printable sentence without a secret, for `status` and the doctor."""
