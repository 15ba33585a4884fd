"""Writes the files; `make event-types`."""

from service.payments.event_types import DIRECTORY
from service.payments.event_types.files import files

if __name__ == "__main__":
    for path in DIRECTORY.glob("*.json"):
        path.unlink()
    for name, text in files().items():
        (DIRECTORY / name).write_bytes(text)
