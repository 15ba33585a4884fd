"""Which topic each channel of a subscription goes to."""

import msgspec


class TopicNames(msgspec.Struct, frozen=True):
    """A topic for each channel, behind a prefix; or one `topic` for all of them."""

    prefix: str = ""
    topic: str = ""

    def of(self, channel: bytes) -> str:
        """The topic of this channel."""
        return self.topic or self.prefix + channel.decode()
