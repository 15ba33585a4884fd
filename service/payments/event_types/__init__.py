"""The sale's types of events as `outbox-relay catalogue apply` takes them, one JSON file for each.

`make event-types` writes the files from the shapes that the service publishes.
"""

from pathlib import Path

DIRECTORY = Path(__file__).parent
