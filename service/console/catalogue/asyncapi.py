"""GET /catalogue/asyncapi.json: the document of /v1/asyncapi.json for whoever may see the pages."""

from starlette.requests import Request
from starlette.responses import Response

from service.console.access import reader
from service.console.page import NO_STORE, as_page
from service.console.security import HEADERS
from service.platform.asyncapi.reading import document_for


@as_page
async def show_document(request: Request) -> Response:
    """The document, as a file to keep."""
    caller = await reader(request)
    content = await document_for(
        request.state.database, request.state.computing, request.state.settings, caller
    )
    kept = {"Content-Disposition": 'attachment; filename="asyncapi.json"'}
    return Response(content, headers={**HEADERS, **NO_STORE, **kept}, media_type="application/json")
