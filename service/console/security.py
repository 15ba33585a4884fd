"""The headers of every page: what a browser may do with it."""

# Nothing is loaded from elsewhere, nothing runs, and no other page has it in a frame.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# For those who are signed in: a script from the service's own files, which looks again by itself.
POLICY_WITH_SCRIPT = f"{POLICY}; script-src 'self'; connect-src 'self'"
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HEADERS_WITH_SCRIPT = {**HEADERS, "Content-Security-Policy": POLICY_WITH_SCRIPT}
