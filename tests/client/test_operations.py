"""Every method asks the service what it is for, and reads what that answers."""

import asyncio
from datetime import UTC, datetime

import pytest

from outbox_client import (
    UNSET,
    AsyncOutbox,
    Breaker,
    Deprecation,
    KafkaConfig,
    KafkaConnector,
    Message,
    NotFound,
    Outbox,
    Raw,
    Retry,
    Unprocessable,
)
from outbox_client.operation import Description
from outbox_client.request import Request
from tests.client.service import Service
from tests.client.test_openapi import METHODS

ENDPOINT = "https://shop.example/hook"


def call_messages(service: Service, outbox: Outbox) -> None:
    channel = service.name()
    one = outbox.messages.publish(
        channel_id=channel,
        type="paid",
        payload=Raw(b'{"amount": 1.50}'),
        group_key="8",
        priority=2,
        idempotency_key=f"{channel}-message",
        headers={"x-shop": "berlin"},
    )
    assert one.idempotency_key == f"{channel}-message"
    several = outbox.messages.publish_transactional(
        [
            Message(channel_id=channel, type="paid", payload={"n": n}, group_key="8")
            for n in range(2)
        ]
    )
    assert service.published(channel) == [
        (one.id, '{"amount": 1.50}'),
        (several[0].id, '{"n":0}'),
        (several[1].id, '{"n":1}'),
    ]
    trace = outbox.messages.trace(one.id)
    assert (trace.state, trace.channel_id, trace.group_key) == ("inLog", channel, "8")
    found = outbox.messages.find(idempotency_key=f"{channel}-message", channel_id=channel)
    assert (found.message_ids, found.more) == ([one.id], False)


def call_subscriptions(service: Service, outbox: Outbox) -> None:
    name, channel = service.name("s"), service.name()
    made = outbox.subscriptions.create(
        channel_id=channel,
        endpoint=ENDPOINT,
        name=name,
        types=["paid"],
        retry=Retry(schedule=[1, 2]),
        breaker=Breaker(minimum=5),
    )
    assert made.secret.startswith("whsec_")
    assert outbox.subscriptions.read(made.id).endpoint == ENDPOINT
    assert name in [one.name for one in outbox.subscriptions.list()]
    changed = outbox.subscriptions.change(made.id, types=None, concurrency=4, breaker=None)
    assert (changed.types, changed.concurrency) == (None, 4)
    assert changed.retry == Retry(schedule=[1, 2], jitter=0.1)
    assert changed.breaker != made.breaker
    assert outbox.subscriptions.pause(made.id).paused
    assert not outbox.subscriptions.resume(made.id).paused
    assert outbox.subscriptions.rotate_secret(made.id, revoke_old="now").secret != made.secret
    message = outbox.subscriptions.test(made.id)
    replayed = outbox.subscriptions.replay(
        made.id, from_=datetime(2020, 1, 1, tzinfo=UTC), dry_run=True
    )
    assert replayed.dry_run
    assert int(message.message_id) > 0
    assert outbox.subscriptions.retry(made.id, group_key="8").messages == 0
    outbox.subscriptions.delete(made.id, discard_undelivered=True)
    with pytest.raises(NotFound):
        outbox.subscriptions.read(made.id)


def call_connectors(service: Service, outbox: Outbox) -> None:
    name, channel = service.name("k"), service.name()
    out = outbox.connectors.create(
        name=name,
        channel_id=channel,
        type="kafka",
        config=KafkaConfig(brokers="kafka.example:9092"),
    )
    assert isinstance(out, KafkaConnector)
    assert out.config.security == "plaintext"
    changed = outbox.connectors.change(out.id, config=KafkaConfig(topic="orders"))
    assert changed == outbox.connectors.read(out.id)
    assert out.id in [one.id for one in outbox.connectors.list(limit=1)]
    assert outbox.connectors.pause(out.id).paused
    assert not outbox.connectors.resume(out.id).paused
    outbox.connectors.test(out.id)
    since = datetime.now(UTC)
    assert outbox.connectors.replay(out.id, from_=since, dry_run=True).dry_run
    outbox.connectors.delete(out.id, discard_undelivered=True)
    taken_in = outbox.connectors.create(
        name=name,
        channel_id=channel,
        type="kafka",
        direction="in",
        priority=4,
        config=KafkaConfig(topic="orders", from_="latest"),
    )
    sought = outbox.connectors.seek(taken_in.id, from_="earliest")
    assert isinstance(sought, KafkaConnector)
    assert (sought.direction, sought.priority, sought.config.from_) == ("in", 4, "earliest")
    [id_] = service.add_inward_dead_letter(taken_in.id)
    assert [one.id for one in outbox.inward_dead_letters.list(connector_id=taken_in.id)] == [id_]
    whole = outbox.inward_dead_letters.read(id_)
    assert isinstance(whole.headers, list)
    assert (whole.value_base64, whole.headers[0].value) == (b"\x00value", b"\xff")
    assert outbox.inward_dead_letters.redrive(ids=[id_]).due == 1
    assert outbox.inward_dead_letters.discard(connector_id=taken_in.id).discarded == 1
    outbox.connectors.delete(taken_in.id)


def call_what_became_of_messages(service: Service, outbox: Outbox) -> None:
    name = service.name()
    made = outbox.subscriptions.create(channel_id=name, endpoint=ENDPOINT, name=name)
    service.add_dead_letters(made.id, name, 2)
    later, earlier = outbox.dead_letters.list(
        subscription_id=made.id, state="dead", from_=datetime(2020, 1, 1, tzinfo=UTC)
    )
    whole = outbox.dead_letters.read(later.id)
    assert (whole.payload, whole.payload_base64) == ({"a": 1}, UNSET)
    assert outbox.dead_letters.redrive(ids=[earlier.id]).redriven == 1
    again = outbox.dead_letters.redrive(subscription_id=made.id, type=name, reason="http_500")
    assert (again.redriven, again.more) == (1, False)
    [first, _] = outbox.deliveries.list(subscription_id=made.id, state="untried")
    assert first.message_id == earlier.message_id
    assert list(outbox.attempts.list(subscription_id=made.id)) == []
    [stats] = [one for one in outbox.stats.list() if one.name == name]
    assert stats.deliveries.untried == 2
    overview = outbox.overview.read()
    assert overview.fleet is not None
    assert "relays" in [one.what for one in overview.findings]
    noted = [one.action for one in outbox.audit.list(subscription_id=made.id)]
    assert noted == ["dead_letter.redrive", "dead_letter.redrive", "subscription.create"]


def call_event_types(service: Service, outbox: Outbox) -> None:
    type_, channel = service.name("type"), service.name()
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    registered = outbox.event_types.put(
        type_,
        channels=[channel],
        schema=schema,
        example={"id": 7},
        owner="checkout",
        deprecation=Deprecation(date=datetime(2030, 1, 1, tzinfo=UTC).date()),
    )
    assert (registered.version, registered.schema, registered.example) == (1, schema, {"id": 7})
    assert outbox.event_types.read(type_) == registered
    assert type_ in [one.type for one in outbox.event_types.list()]
    assert outbox.event_types.read_version(type_, 1) == schema
    assert outbox.event_types.validate(type_, {"id": 7}).fits
    assert not outbox.event_types.validate(type_, {"id": "7"}).fits
    assert channel in str(outbox.event_types.asyncapi(channel_id=channel))
    outbox.event_types.delete(type_)
    with pytest.raises(NotFound):
        outbox.event_types.read(type_)


def test_the_async_client_has_the_same_effects_and_errors(service: Service) -> None:
    channel = service.name()

    async def work() -> str:
        async with AsyncOutbox(service.url, service.key) as outbox:
            published = await outbox.messages.publish(channel_id=channel, type="t", payload=None)
            with pytest.raises(Unprocessable, match="ids"):
                await outbox.dead_letters.redrive(ids=[])
            return published.id

    published = asyncio.run(work())
    assert service.published(channel) == [(published, "null")]


def test_every_method_asks_for_its_operation_and_reads_its_answer(
    service: Service, outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = set()
    request = Description.request

    def note(self: Description[..., object], *args: object, **kwargs: object) -> Request[object]:
        called.add((self.method, self.path))
        return request(self, *args, **kwargs)

    monkeypatch.setattr(Description, "request", note)
    for call in (
        call_messages,
        call_subscriptions,
        call_connectors,
        call_what_became_of_messages,
        call_event_types,
    ):
        call(service, outbox)
    assert called == METHODS.keys()
