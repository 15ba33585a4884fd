"""What an endpoint answered, as it came."""

import msgspec


class Reply(msgspec.Struct):
    """What an endpoint answered: at most 16 KiB of the body, and three headers."""

    status: int = 0
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None
    location: str | None = None

    @property
    def acknowledged(self) -> bool:
        return 200 <= self.status < 300
