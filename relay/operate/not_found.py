"""What a command names and is not there."""


class NotFoundError(LookupError):
    """There is no such subscription, message or dead letter; the message names it."""
