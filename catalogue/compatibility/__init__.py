"""What a change of a schema breaks, by the one rule: writers are closed and readers are open.

A writer puts in no property that its schema does not declare; a reader ignores what it does not
know. So a change is `forward` if each new message is one that consumers of the old schema take, and
`backward` if each old message is one that consumers of the new schema take. That makes adding an
optional property safe, and lets no required one vanish.

The answer errs on one side only: what can't be shown to fit counts as a break.
"""

from catalogue.compatibility.breaks import Break, Harmed, breaks
from catalogue.compatibility.versions import Check, Compatibility, check
from catalogue.compatibility.words import Direction

__all__ = ["Break", "Check", "Compatibility", "Direction", "Harmed", "breaks", "check"]
