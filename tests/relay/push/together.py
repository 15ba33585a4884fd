"""Endpoints of one relay whose subscriptions follow the log together, for tests."""

from relay.database import connect
from relay.log.reading import RUN_MESSAGES
from relay.log.run import Ran
from relay.push.shared_runs import SharedPushRuns
from tests.relay.push.stage import PushRelay, PushStage


class Together:
    """A relay's runs of many."""

    def __init__(self, relay: PushRelay) -> None:
        self.relay = relay
        self.connection = connect(relay.settings)
        self.runs = SharedPushRuns(
            self.connection, relay.request_loop, relay.settings, relay.telemetry
        )

    def run(self, limit: int = RUN_MESSAGES, *, again: bool = False) -> dict[str, Ran]:
        """One run of all that have work, by the subscription's name, of the last of its cursors."""
        cursors = self.relay.probe()
        ran = self.runs.run(cursors, limit, again=again) if cursors else {}
        return {one.subscription: ran[one.id] for one in cursors if one.id in ran}

    def drain(self) -> None:
        """Runs until nothing more goes together."""
        while any(one.progressed for one in self.run().values()):
            pass


def subscribe(stage: PushStage, *names: str) -> None:
    """They stand at one place."""
    for name in names:
        stage.subscribe(name)
