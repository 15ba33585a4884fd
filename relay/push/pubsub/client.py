"""One topic's client: the transport of Google's library, over a channel of its own.

The library comes with the extra `pubsub`, and is imported when a client is made: its transport
alone, since its publisher has threads, batches and retries of its own. The asyncio one of gRPC does
not get on with a second loop beside it.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec

from relay.push.allowed import PORTS
from relay.push.away import Away
from relay.push.http.answer import Answer, unanswered
from relay.push.policy.settings import Topic
from relay.push.pubsub import codes
from relay.push.pubsub.message import Message
from relay.push.pubsub.permission import demand
from relay.settings import Settings
from relay.settings.credentials import CredentialError

SCOPES = ("https://www.googleapis.com/auth/pubsub",)
PUBLISH = "pubsub.topics.publish"
NEEDS_EXTRA = (
    "kind pubsub needs google-cloud-pubsub, which this relay lacks: install outbox-relay[pubsub]"
)
# A topic that does not answer when it is looked for keeps nobody longer.
LOOK_SECONDS = 5.0
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # The run decides what is tried again, and when; by gRPC's own measure a channel whose server
    # was away stays so for up to two minutes.
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A connection that has had nothing to carry for so long ends; one whose server is gone without
    # a word is seen to be gone.
    ("grpc.client_idle_timeout_ms", 60_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A new client has new connections, and shares none that hangs.
    ("grpc.use_local_subchannel_pool", 1),
)

Done = Callable[[Any], None]


class Client:
    """Opened by any thread; calls are made and counted on one loop."""

    def __init__(self, topic: Topic, settings: Settings) -> None:
        """Raises Away where the topic is not allowed or its credential can't be had."""
        demand(topic, settings)
        # gRPC writes complaints of its own to stderr, which is the log's; each call's answer says
        # what they do.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        try:
            from google.api_core.gapic_v1.routing_header import to_grpc_metadata
            from google.iam.v1.iam_policy_pb2 import TestIamPermissionsRequest
            from google.pubsub_v1 import types
            from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
        except ImportError:
            raise Away(NEEDS_EXTRA) from None
        self._topic = topic.path
        self._types = types
        self._permissions = TestIamPermissionsRequest
        self._of_topic = (to_grpc_metadata([("topic", topic.path)]),)
        self._of_resource = (to_grpc_metadata([("resource", topic.path)]),)
        self._channel = _channel(topic, settings)
        self._transport = PublisherGrpcTransport(channel=self._channel)
        self._publish = self._transport.publish
        self._calls = 0
        self._is_let_go = False

    def look(self) -> Answer | None:
        """Why no message can go there, by GetTopic; None where the topic is there.

        Who may publish need not be allowed to look, and not every server has this call.
        """
        began_at = time.monotonic()
        request = self._types.GetTopicRequest(topic=self._topic)
        try:
            self._transport.get_topic(request, timeout=LOOK_SECONDS, metadata=self._of_topic)
        except Exception as wrong:
            return fault(wrong, time.monotonic() - began_at)
        return None

    def may_publish(self) -> bool | None:
        """By TestIamPermissions; None where the server does not say."""
        request = self._permissions(resource=self._topic, permissions=[PUBLISH])
        try:
            said = self._transport.test_iam_permissions(
                request, timeout=LOOK_SECONDS, metadata=self._of_resource
            )
        except Exception:
            return None
        return PUBLISH in said.permissions

    def publish(self, messages: Sequence[Message], seconds: float, done: Done) -> None:
        """One request, of at most so many seconds; `done` is called with the call, in any thread.

        Raises whatever the library does, and then `done` is not called.
        """
        request = self._types.PublishRequest.pb()(
            topic=self._topic, messages=[one.wire for one in messages]
        )
        call = self._publish.future(
            self._types.PublishRequest.wrap(request), timeout=seconds, metadata=self._of_topic
        )
        self._calls += 1
        call.add_done_callback(done)

    def answer(self, call: Any, messages: int, seconds: float) -> Answer:
        """What came of a request, for each of its messages: all of them arrived, or none did."""
        try:
            said = self._types.PublishResponse.pb(call.result())
        except Exception as wrong:
            return fault(wrong, seconds)
        if len(said.message_ids) != messages:
            return unanswered("protocol", "the answer has another number of ids", seconds)
        return codes.acknowledged(seconds)

    def end_call(self) -> None:
        """A request's answer is on the loop."""
        self._calls -= 1
        self._close_if_over()

    def let_go(self) -> None:
        """No request is made any more; what is under way is answered, then its channel closes."""
        self._is_let_go = True
        self._close_if_over()

    def _close_if_over(self) -> None:
        if self._is_let_go and not self._calls:
            self.close()

    def close(self) -> None:
        """Its connections, at once."""
        self._channel.close()


def fault(wrong: Exception, seconds: float) -> Answer:
    """What a call raised."""
    import grpc
    from google.auth.exceptions import GoogleAuthError

    if isinstance(wrong, grpc.FutureCancelledError):
        return codes.of_call("CANCELLED", "", seconds)
    if isinstance(wrong, GoogleAuthError):
        return codes.of_call("UNAUTHENTICATED", "no token could be had", seconds)
    if isinstance(wrong, grpc.RpcError) and isinstance(wrong, grpc.Call):
        return codes.of_call(wrong.code().name, wrong.details() or "", seconds)
    return unanswered("fault", type(wrong).__name__, seconds)


def _channel(topic: Topic, settings: Settings) -> Any:
    """Raises Away."""
    import grpc

    parts = urlsplit(topic.endpoint)
    target = f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}"
    if parts.hostname is not None and ":" in parts.hostname:
        target = f"[{parts.hostname}]:{parts.port or PORTS[parts.scheme]}"
    options: list[tuple[str, int | str]] = [*OPTIONS]
    if settings.proxy is None:
        options.append(("grpc.enable_http_proxy", 0))
    else:
        options.append(("grpc.http_proxy", settings.proxy.geturl()))
    if parts.scheme == "http":
        # As emulators have it: nothing is signed.
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, _signed(topic, parts.hostname or "", settings), options)


def _signed(topic: Topic, host: str, settings: Settings) -> Any:
    """TLS, and a token with every request. Raises Away."""
    import grpc
    from google.auth.transport.grpc import AuthMetadataPlugin
    from google.auth.transport.requests import Request

    authorities, identity = _identity(topic, settings)
    plugin = AuthMetadataPlugin(identity, Request(), default_host=host)
    return grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(root_certificates=authorities),
        grpc.metadata_call_credentials(plugin),
    )


def _identity(topic: Topic, settings: Settings) -> tuple[bytes | None, Any]:
    """The credential's authorities, None: those that gRPC brings, and who sends. Raises Away."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.oauth2 import service_account

    if topic.credentials is None:
        try:
            identity, _ = google.auth.default(scopes=SCOPES)
        except GoogleAuthError:
            raise Away(
                "the connector names no credentials, and this relay has none of its own"
            ) from None
        return None, _without_token_endpoint(identity)
    try:
        found = settings.credential(topic.credentials, "service_account")
        info = msgspec.json.decode(found["service_account"], type=dict[str, Any])
        identity = service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
    except CredentialError as wrong:
        raise Away(str(wrong)) from None
    except Exception:
        # Without its cause, which may quote the key.
        text = f"credential {topic.credentials}: service_account is no JSON key of one"
        raise Away(text) from None
    authorities = found["ca"].encode() if "ca" in found else None
    return authorities, _without_token_endpoint(identity)


def _without_token_endpoint(identity: Any) -> Any:
    """A service account signs its tokens itself."""
    from google.oauth2 import service_account

    if isinstance(identity, service_account.Credentials):
        return identity.with_always_use_jwt_access(True)
    return identity
