"""The operations of deliveries: how they stand, their attempts, and their numbers."""

from service.platform.deliveries import attempts, deliveries, stats
from service.platform.pages import Page
from service.web.operations.operation import Operation

OPERATIONS = (
    Operation(
        method="GET",
        path="/v1/deliveries",
        tag="deliveries",
        run=deliveries.list_deliveries,
        scopes=("read",),
        query=deliveries.DeliveryQuery,
        answer=Page[deliveries.Delivery],
    ),
    Operation(
        method="GET",
        path="/v1/attempts",
        tag="attempts",
        run=attempts.list_attempts,
        scopes=("read",),
        query=attempts.AttemptQuery,
        answer=Page[attempts.Attempt],
    ),
    Operation(
        method="GET",
        path="/v1/stats",
        tag="stats",
        run=stats.list_stats,
        scopes=("read",),
        query=stats.StatsQuery,
        answer=Page[stats.Stats],
    ),
)
