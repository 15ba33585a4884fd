"""What a key that is limited to channels may take of the cursors: a share, and no other key's."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from service.web.access.keys import SCOPES
from tests.service.api import SUBSCRIPTIONS, Json, Platform

# For a key of each name, and for everybody else.
SHARE = 20


@pytest.fixture(autouse=True)
def share(platform: Platform) -> Iterator[None]:
    """Two hundred cursors: those of subscription kafka, and whatever the test makes."""
    platform.database.execute(
        "select outbox.delete_subscription(name, true) from outbox.subscription where kind = 'http'"
    )
    platform.database.execute("update outbox.quota set cursors = 200, limited_percent = 10")
    yield
    platform.database.execute("update outbox.quota set cursors = 5000, limited_percent = 10")


def limited(platform: Platform, *channels: str, name: str | None = None) -> dict[str, str]:
    """A new key for these channels."""
    headers = platform.key(*SCOPES, channels=channels)
    if name is not None:
        platform.database.execute(
            "update outbox.api_key set name = %s where id = (select max(id) from outbox.api_key)",
            [name],
        )
    return headers


def make(
    platform: Platform, headers: dict[str, str], shards: int, channel: str = "shared"
) -> tuple[int, Json]:
    """Asks for a subscription; status and body."""
    form = {
        "channelId": channel,
        "endpoint": "https://receiver.example/",
        "name": platform.name(),
        "shards": shards,
    }
    answer = platform.send("POST", SUBSCRIPTIONS, form, headers)
    return answer.status_code, answer.json()


def test_one_limited_key_leaves_room_for_every_other(platform: Platform) -> None:
    """For others of the very same channels, for those without a limit, and for the owner."""
    greedy = limited(platform, "shared")
    assert make(platform, greedy, 4)[0] == 201
    assert make(platform, greedy, 1)[0] == 409
    assert make(platform, limited(platform, "shared"), 4)[0] == 201
    assert make(platform, limited(platform, "sha*"), 4)[0] == 201
    assert make(platform, platform.authorization, 4)[0] == 201
    platform.database.execute("insert into outbox.subscription (name, shards) values ('own', 16)")
    platform.database.execute("delete from outbox.subscription where name = 'own'")


def test_a_limited_key_is_told_of_its_own_share_and_of_nothing_else(platform: Platform) -> None:
    name = platform.name()
    key = limited(platform, "shared", name=name)
    assert make(platform, platform.authorization, 7)[0] == 201
    assert make(platform, key, 3)[0] == 201
    status, problem = make(platform, key, 2)
    assert (status, problem["field"]) == (409, "shards")
    assert problem["detail"] == (
        f"shards = 2 takes 10 cursors, and of at most 20 for what API keys named {name} make there "
        "are 15 already: take fewer shards, delete a subscription that is not needed, or ask who "
        "gave you the key."
    )


def test_a_limited_key_is_not_told_how_much_others_have(platform: Platform) -> None:
    assert make(platform, platform.authorization, 35)[0] == 201
    status, problem = make(platform, limited(platform, "shared"), 1)
    assert (status, problem["field"]) == (409, "shards")
    assert problem["detail"] == (
        "shards = 1 takes 5 cursors, and there is no room for them: take fewer shards, or ask who "
        "gave you the API key."
    )


def test_all_limited_keys_together_leave_as_much_to_the_others(platform: Platform) -> None:
    made = [make(platform, limited(platform, "shared"), 4)[0] for _ in range(10)]
    # Five cursors are those of `kafka`.
    assert made == [201] * 8 + [409] * 2
    assert make(platform, platform.authorization, 4)[0] == 201


def test_a_key_in_the_place_of_another_has_no_second_share(platform: Platform) -> None:
    """Whatever channels it is limited to now."""
    name = platform.name()
    first = limited(platform, "shared", name=name)
    assert make(platform, first, 4)[0] == 201
    platform.database.execute(
        "update outbox.api_key set revoked_at = now() where name = %s", [name]
    )
    for channels in (["shared"], ["other", "shared"], ["s*"]):
        assert make(platform, limited(platform, *channels, name=name), 1)[0] == 409


def test_what_is_moved_or_renamed_is_of_the_share_still(platform: Platform) -> None:
    key = limited(platform, "shared*")
    status, made = make(platform, key, 4)
    assert status == 201
    where = f"{SUBSCRIPTIONS}/{made['id']}"
    change = {"channelId": "shared.elsewhere", "name": platform.name()}
    assert platform.send("PATCH", where, change, key).status_code == 200
    assert make(platform, key, 1)[0] == 409
    # By others, to where the key does not see it any more.
    platform.ask("PATCH", where, {"channelId": "elsewhere"})
    assert make(platform, key, 1)[0] == 409


def test_what_is_deleted_is_of_the_share_no_more(platform: Platform) -> None:
    key = limited(platform, "shared")
    for _ in range(3):
        status, made = make(platform, key, 4)
        assert status == 201
        where = f"{SUBSCRIPTIONS}/{made['id']}?discardUndelivered=true"
        assert platform.send("DELETE", where, None, key).status_code == 204


def test_what_others_make_on_its_channels_takes_nothing_of_its_share(platform: Platform) -> None:
    key = limited(platform, "shared")
    assert make(platform, platform.authorization, 8)[0] == 201
    assert make(platform, key, 4)[0] == 201


def test_many_requests_at_once_do_not_pass_together(platform: Platform) -> None:
    key = limited(platform, "shared")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make(platform, key, 1)[0], range(12)))
    assert sorted(made) == [201] * 4 + [409] * 8


def test_the_share_is_the_owners_to_set(platform: Platform) -> None:
    key = limited(platform, "shared")
    platform.database.execute("update outbox.quota set limited_percent = 0")
    assert make(platform, key, 1)[0] == 409
    platform.database.execute("update outbox.quota set limited_percent = 50")
    assert make(platform, key, 19)[0] == 201
    assert make(platform, key, 1)[0] == 409
