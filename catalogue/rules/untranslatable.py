"""What of a schema can't be kept exactly in SQL."""


class Untranslatable(Exception):
    """A keyword that SQL can't keep exactly where it stands, at a JSON pointer into the schema."""

    def __init__(self, pointer: str, keyword: str, reason: str) -> None:
        super().__init__(f"{pointer}/{keyword}: {reason}")
        self.pointer = pointer
        self.keyword = keyword
        self.reason = reason
