"""`python -m local.pubsub_server`: Google Cloud Pub/Sub, as far as who publishes and pulls sees it.

It has Google's limits, keeps the order of each key, and fails as it is told to. What it has
answered is in its journal, so that a kill loses nothing.
"""

import argparse
import asyncio
import json
import os
import random
import struct
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
from google.iam.v1 import iam_policy_pb2 as iam
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

Topic, Subscription = types.Topic.pb(), types.Subscription.pb()
Publish, Acknowledge = types.PublishRequest.pb(), types.AcknowledgeRequest.pb()
# By what a record of the journal begins with.
RECORDS = {b"T": Topic, b"S": Subscription, b"P": Publish, b"A": Acknowledge}
PUBLISH = "pubsub.topics.publish"
MAX_SEEN = 50_000


def violation(request: Any) -> str | None:
    """Which of Google's limits a publish request is beyond."""
    messages = request.messages
    if not 1 <= len(messages) <= 1000:
        return "a request has 1 to 1000 messages"
    if request.ByteSize() > 10_000_000:
        return "a request has at most 10000000 bytes"
    if len({one.ordering_key for one in messages}) > 1:
        return "all messages of a request have the same ordering key, or none"
    return next((fault for one in messages if (fault := _fault(one))), None)


def _fault(message: Any) -> str | None:
    if not message.data and not message.attributes:
        return "a message has data or an attribute"
    if len(message.ordering_key.encode()) > 1024:
        return "an ordering key has at most 1024 bytes"
    if len(message.attributes) > 100:
        return "a message has at most 100 attributes"
    for name, value in message.attributes.items():
        if not name or len(name.encode()) > 256 or name.lower().startswith("goog"):
            return "an attribute's key has 1 to 256 bytes and does not begin with goog"
        if len(value.encode()) > 1024:
            return "an attribute's value has at most 1024 bytes"
    return None


class Queue:
    """The messages of one subscription that are not acknowledged, in their order."""

    def __init__(self, made: Any) -> None:
        self.ordered: bool = made.enable_message_ordering
        self.deadline_seconds: int = made.ack_deadline_seconds or 10
        self.messages: dict[str, Any] = {}
        # Until when somebody has them, by time.monotonic().
        self.leases: dict[str, float] = {}

    def take(self, most: int) -> Iterator[Any]:
        """None of a key of which somebody has one."""
        now, held, taken = time.monotonic(), set[str](), 0
        for message_id, message in self.messages.items():
            key = message.ordering_key if self.ordered else ""
            if self.leases.get(message_id, 0.0) > now:
                held.add(key)
            elif taken < most and (not key or key not in held):
                taken += 1
                self.leases[message_id] = now + self.deadline_seconds
                yield message


class Plan:
    """How it fails: see local.pubsub.PubSub.plan."""

    def __init__(self, wish: dict[str, Any]) -> None:
        self.codes = deque[str](wish.get("codes", ()))
        self.always: str | None = wish.get("always")
        self.only: str | None = wish.get("only")
        self.fail_share, self.lose_share = wish.get("fail_share", 0.0), wish.get("lose_share", 0.0)
        self._delay_seconds: float = wish.get("delay_seconds", 0.0)
        self._slow: str | None = wish.get("slow")
        self.refuse: str | None = wish.get("refuse")
        self.get_topic: str | None = wish.get("get_topic")
        self.permissions: list[str] | None = wish.get("permissions", [PUBLISH])
        self.authorized: bool = wish.get("authorized", False)
        self.chance = random.Random(wish.get("seed", 0))

    def delay_seconds(self, topic: str) -> float:
        """How long a request to this topic takes."""
        is_slow = self._slow is None or topic.endswith(f"/{self._slow}")
        return self._delay_seconds if is_slow else 0.0

    def code(self, key: str) -> str | None:
        """With which the next request, of this ordering key, fails before anything is done."""
        if self.only is not None and key != self.only:
            return None
        if self.codes:
            return self.codes.popleft() or None
        if self.always is not None:
            return self.always
        return "UNAVAILABLE" if self.chance.random() < self.fail_share else None


class Server:
    """The methods of the service, by their names."""

    def __init__(self, journal: Path) -> None:
        self.topics: set[str] = set()
        self.queues: dict[str, tuple[str, Queue]] = {}
        self.plan = Plan({})
        self.seen: deque[dict[str, Any]] = deque(maxlen=MAX_SEEN)
        self.published = 0
        self.under_way: set[str] = set()
        for kind, record in _records(journal):
            self._apply(kind, record)
        self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _note(self, kind: bytes, record: Any) -> list[str]:
        content = record.SerializeToString()
        os.write(self._journal, kind + struct.pack(">I", len(content)) + content)
        return self._apply(kind, record)

    def _apply(self, kind: bytes, record: Any) -> list[str]:
        if kind == b"T":
            self.topics.add(record.name)
        elif kind == b"S":
            self.queues[record.name] = record.topic, Queue(record)
        elif kind == b"P":
            return [self._publish(record.topic, one) for one in record.messages]
        else:
            _, queue = self.queues[record.subscription]
            for ack_id in record.ack_ids:
                queue.messages.pop(ack_id, None)
                queue.leases.pop(ack_id, None)
        return []

    def _publish(self, topic: str, message: Any) -> str:
        self.published += 1
        message.message_id = str(self.published)
        for of, queue in self.queues.values():
            if of == topic:
                queue.messages[message.message_id] = message
        return str(message.message_id)

    async def CreateTopic(self, request: Any, context: Any) -> Any:
        if request.name in self.topics:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} is there")
        self._note(b"T", request)
        return request

    async def GetTopic(self, request: Any, context: Any) -> Any:
        if self.plan.get_topic is not None:
            await context.abort(grpc.StatusCode[self.plan.get_topic], "as planned")
        await self._demand(request.topic in self.topics, context, request.topic)
        return Topic(name=request.topic)

    async def Publish(self, request: Any, context: Any) -> Any:
        plan, authorization = self.plan, dict(context.invocation_metadata()).get("authorization")
        key = request.messages[0].ordering_key if request.messages else ""
        self.seen.append(
            {
                "at": time.monotonic(),
                "topic": request.topic,
                "messages": len(request.messages),
                "key": key,
                "bytes": request.ByteSize(),
                "authorization": authorization,
                "overlaps": bool(key) and key in self.under_way,
            }
        )
        self.under_way.add(key)
        try:
            await asyncio.sleep(plan.delay_seconds(request.topic))
        finally:
            self.under_way.discard(key)
        if plan.authorized and authorization is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        if (code := plan.code(key)) is not None:
            await context.abort(grpc.StatusCode[code], "as planned")
        await self._demand(request.topic in self.topics, context, request.topic)
        fault = violation(request)
        refused = None if plan.refuse is None else plan.refuse.encode()
        if fault is None and any(one.data == refused for one in request.messages):
            fault = "the data does not match the topic's schema"
        if fault is not None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, fault)
        ids = self._note(b"P", request)
        if plan.chance.random() < plan.lose_share:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the answer is lost")
        return types.PublishResponse.pb()(message_ids=ids)

    async def CreateSubscription(self, request: Any, context: Any) -> Any:
        await self._demand(request.topic in self.topics, context, request.topic)
        if request.name in self.queues:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} is there")
        self._note(b"S", request)
        return request

    async def Pull(self, request: Any, context: Any) -> Any:
        name = request.subscription
        await self._demand(name in self.queues, context, name)
        taken = self.queues[name][1].take(request.max_messages)
        received = [types.ReceivedMessage.pb()(ack_id=one.message_id, message=one) for one in taken]
        return types.PullResponse.pb()(received_messages=received)

    async def Acknowledge(self, request: Any, context: Any) -> Any:
        self._note(b"A", request)
        return Empty()

    async def TestIamPermissions(self, request: Any, context: Any) -> Any:
        granted = self.plan.permissions
        if granted is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "as an emulator")
            raise AssertionError
        # Of what is not there nobody has any.
        asked = request.permissions if request.resource in self.topics else ()
        return iam.TestIamPermissionsResponse(permissions=[one for one in asked if one in granted])

    async def Fail(self, wish: bytes, context: Any) -> bytes:
        self.plan = Plan(json.loads(wish))
        return b""

    async def Seen(self, _: bytes, context: Any) -> bytes:
        seen = list(self.seen)
        self.seen.clear()
        return json.dumps(seen).encode()

    @staticmethod
    async def _demand(found: bool, context: Any, name: str) -> None:
        if not found:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{name} does not exist")


def _records(journal: Path) -> Iterator[tuple[bytes, Any]]:
    """What is cut off at the end was never answered."""
    content = journal.read_bytes() if journal.exists() else b""
    place = 0
    while len(content) >= place + 5:
        (size,) = struct.unpack(">I", content[place + 1 : place + 5])
        record = content[place + 5 : place + 5 + size]
        if len(record) < size:
            return
        kind = content[place : place + 1]
        yield kind, RECORDS[kind].FromString(record)
        place += 5 + size


def services(server: Server) -> list[Any]:
    """What gRPC calls."""
    takes = {
        "google.pubsub.v1.Publisher": {
            "CreateTopic": Topic,
            "GetTopic": types.GetTopicRequest.pb(),
            "Publish": Publish,
        },
        "google.pubsub.v1.Subscriber": {
            "CreateSubscription": Subscription,
            "Pull": types.PullRequest.pb(),
            "Acknowledge": Acknowledge,
        },
        "google.iam.v1.IAMPolicy": {"TestIamPermissions": iam.TestIamPermissionsRequest},
    }
    found = [
        grpc.method_handlers_generic_handler(
            name,
            {
                method: grpc.unary_unary_rpc_method_handler(
                    getattr(server, method),
                    request_deserializer=kind.FromString,
                    response_serializer=lambda answer: answer.SerializeToString(),
                )
                for method, kind in methods.items()
            },
        )
        for name, methods in takes.items()
    ]
    own = {
        method: grpc.unary_unary_rpc_method_handler(getattr(server, method))
        for method in ("Fail", "Seen")
    }
    return [*found, grpc.method_handlers_generic_handler("local.PubSub", own)]


async def serve(port: int, journal: Path, tls: tuple[int, Path] | None) -> None:
    """Until it is killed. `tls`: another port, and a PEM file of a key and its certificates."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.aio.server(options=options)
    server.add_generic_rpc_handlers(services(Server(journal)))
    server.add_insecure_port(f"127.0.0.1:{port}")
    if tls is not None:
        pem = tls[1].read_bytes()
        server.add_secure_port(f"127.0.0.1:{tls[0]}", grpc.ssl_server_credentials([(pem, pem)]))
    await server.start()
    await server.wait_for_termination()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local.pubsub_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--tls-port", type=int)
    parser.add_argument("--tls-pem", type=Path)
    given = parser.parse_args()
    tls = (given.tls_port, given.tls_pem) if given.tls_pem is not None else None
    asyncio.run(serve(given.port, given.journal, tls))


if __name__ == "__main__":
    main()
