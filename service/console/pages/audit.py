"""/console/audit: which key changed what, and when."""

from starlette.responses import Response
from starlette.routing import Route

from service.console.visit import Visit, shown
from service.platform import audit
from service.platform.audit import AuditQuery


@shown
async def show_audit(visit: Visit) -> Response:
    """The newest first, a page at a time; of one subscription where the address says so."""
    query = visit.query(AuditQuery)
    found = await visit.ask(audit.list_audit, query=query)
    return visit.page("pages/audit.html", found=found, query=query)


ROUTES = (Route("/console/audit", show_audit, methods=["GET"]),)
