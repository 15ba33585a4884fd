"""A typed client of outbox-relay's HTTP API, sync and async, whose retries never publish twice."""

from msgspec import UNSET, Raw, UnsetType

from outbox_client.attempts import Attempt
from outbox_client.audit import AuditEntry
from outbox_client.connector_configs import EventHubsConfig, KafkaConfig, PubsubConfig, SqsConfig
from outbox_client.connectors import (
    Connector,
    EventHubsConnector,
    KafkaConnector,
    PubsubConnector,
    SqsConnector,
)
from outbox_client.dead_letters import DeadLetter, Redriven, WholeDeadLetter
from outbox_client.deliveries import Delivery
from outbox_client.event_types import Deprecation, EventType, EventTypeOutline, Validation
from outbox_client.inward_dead_letters import (
    Discarded,
    InwardDeadLetter,
    InwardRedriven,
    WholeInwardDeadLetter,
)
from outbox_client.messages import Found, Message, Published
from outbox_client.outbox import AsyncOutbox, Outbox
from outbox_client.overview import Finding, Fleet, Overview
from outbox_client.pages import AsyncPages, Page, Pages
from outbox_client.problems import (
    Break,
    Conflict,
    Fault,
    Forbidden,
    NotFound,
    OutboxError,
    Problem,
    Unanswered,
    Unauthorized,
    Unavailable,
    Unprocessable,
    Unreadable,
)
from outbox_client.push_settings import Breaker, Retry
from outbox_client.stats import Stats
from outbox_client.subscriptions import (
    NewSubscription,
    Replayed,
    Retried,
    Secret,
    Sent,
    Subscription,
)
from outbox_client.trace import Trace

__all__ = [
    "UNSET",
    "AsyncOutbox",
    "AsyncPages",
    "Attempt",
    "AuditEntry",
    "Break",
    "Breaker",
    "Conflict",
    "Connector",
    "DeadLetter",
    "Delivery",
    "Deprecation",
    "Discarded",
    "EventHubsConfig",
    "EventHubsConnector",
    "EventType",
    "EventTypeOutline",
    "Fault",
    "Finding",
    "Fleet",
    "Forbidden",
    "Found",
    "InwardDeadLetter",
    "InwardRedriven",
    "KafkaConfig",
    "KafkaConnector",
    "Message",
    "NewSubscription",
    "NotFound",
    "Outbox",
    "OutboxError",
    "Overview",
    "Page",
    "Pages",
    "Problem",
    "Published",
    "PubsubConfig",
    "PubsubConnector",
    "Raw",
    "Redriven",
    "Replayed",
    "Retried",
    "Retry",
    "Secret",
    "Sent",
    "SqsConfig",
    "SqsConnector",
    "Stats",
    "Subscription",
    "Trace",
    "Unanswered",
    "Unauthorized",
    "Unavailable",
    "Unprocessable",
    "Unreadable",
    "UnsetType",
    "Validation",
    "WholeDeadLetter",
    "WholeInwardDeadLetter",
]
