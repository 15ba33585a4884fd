"""The operations of dead letters, each with its path, its scopes and its bodies."""

from service.platform.dead_letters import dead_letters, redrive
from service.platform.pages import Page
from service.platform.permission import BY_KIND
from service.web.operations.operation import Operation

DEAD_LETTERS = "/v1/dead-letters"

OPERATIONS = (
    Operation(
        method="GET",
        path=DEAD_LETTERS,
        tag="dead-letters",
        run=dead_letters.list_dead_letters,
        scopes=("read",),
        query=dead_letters.DeadLetterQuery,
        answer=Page[dead_letters.DeadLetter],
    ),
    Operation(
        method="GET",
        path=f"{DEAD_LETTERS}/{{id}}",
        tag="dead-letters",
        run=dead_letters.read_dead_letter,
        scopes=("read",),
        answer=dead_letters.WholeDeadLetter,
    ),
    Operation(
        method="POST",
        path=f"{DEAD_LETTERS}/redrive",
        tag="dead-letters",
        run=redrive.redrive,
        scopes=("manage", "operate"),
        needs=BY_KIND,
        body=redrive.Redrive,
        answer=redrive.Redriven,
    ),
)
