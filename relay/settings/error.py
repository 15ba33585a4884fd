"""What is wrong with the environment."""


class SettingsError(ValueError):
    """The environment does not make a relay; `faults` holds one sentence for each mistake in it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults
