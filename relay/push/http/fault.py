"""Why a request has no answer."""


class Fault(Exception):
    """A word of Answer (answer.py), and a sentence without the URL: it may hold a secret."""

    def __init__(self, word: str, detail: str) -> None:
        super().__init__(detail)
        self.word = word
        self.detail = detail


class ForbiddenAddressError(Fault):
    """The endpoint leads to an address that the guard refuses."""

    def __init__(self, address: str, why: str) -> None:
        super().__init__("forbidden_address", f"{address} {why}")


class NoConnectionError(Fault):
    """This relay, and not the endpoint, is why no connection could be made."""

    def __init__(self, why: str) -> None:
        super().__init__("no_connection", f"no connection could be opened here: {why}")
