"""`outbox-relay` as the next version of it: this one, and migrations that it brings besides.

python next_version.py DIRECTORY ARGUMENTS…  with DIRECTORY as `bring` makes it.
"""

import sys
from pathlib import Path

from relay import cli, migrations

HEAD = "set search_path = pg_catalog, pg_temp;\nset standard_conforming_strings = on;\n"
ROW = "insert into outbox.migration values ({version}, '{name}', default, {compatible_from});\n"
# What a minor version may do to what is in use. Each alters one table, as migrations have to: a
# relay that holds one of two and waits for the other would be in a deadlock with it.
ADDITIONS = {
    "next_message": "alter table outbox.message add column remark text;",
    "next_subscription": "alter table outbox.subscription add column remark text not null "
    "default 'none';",
    "next_delivery": "create index remarked on outbox.delivery (due_at, message_id);",
    "next_functions": """do $$
declare
    definition text;
begin
    for definition in
        select pg_get_functiondef(oid) from pg_proc
        where pronamespace = 'outbox'::regnamespace and prokind in ('f', 'p')
    loop
        execute definition;
    end loop;
end
$$;""",
}


def bring(directory: Path, *, compatible_from: int | str) -> list[str]:
    """Makes a copy of sql/ with ADDITIONS, which say who works beside them ("null": nobody).

    Returns them as `outbox-relay migrate` names them.
    """
    (directory / "migrations").mkdir(parents=True)
    (directory / "roles.sql").symlink_to(migrations.sql_directory() / "roles.sql")
    known = migrations.known()
    for one in known:
        (directory / "migrations" / one.path.name).symlink_to(one.path)
    brought = []
    for version, (name, sql) in enumerate(ADDITIONS.items(), known[-1].version + 1):
        row = ROW.format(version=version, name=name, compatible_from=compatible_from)
        (directory / "migrations" / f"{version:03}_{name}.sql").write_text(HEAD + sql + row)
        brought.append(f"{version:03} {name}")
    return brought


if __name__ == "__main__":
    sql_directory = Path(sys.argv.pop(1))
    migrations.sql_directory = lambda: sql_directory
    sys.exit(cli.main())
