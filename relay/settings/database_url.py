"""DATABASE_URL: a connection string of libpq. No message shows its password."""

import psycopg
from psycopg.conninfo import conninfo_to_dict


def read(url: str, faults: list[str]) -> str:
    """The URL; adds a sentence to `faults` where libpq can't read it."""
    # libpq quotes what it could not read, and that may be the password: its words stay out.
    hint = "write postgresql://user:password@host:5432/database"
    if not url:
        faults.append(f"DATABASE_URL is not set: {hint}")
    else:
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            faults.append(f"DATABASE_URL is no Postgres connection string: {hint}")
    return url


def place(url: str) -> str:
    """Where the database is, `host:port/name`."""
    parts = conninfo_to_dict(url)
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    return f"{host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"
