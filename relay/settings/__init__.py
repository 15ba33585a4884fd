"""The relay's settings, read from the environment."""

from relay.settings.error import SettingsError
from relay.settings.settings import Settings

__all__ = ["Settings", "SettingsError"]
