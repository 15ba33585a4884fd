"""An endpoint's URL is read in one way: whom to connect to, and what to ask for there."""

import pytest

from relay.push.http.fault import Fault
from relay.push.http.url import parse


@pytest.mark.parametrize(
    ("text", "origin", "authority", "target"),
    [
        ("http://a.example", "a.example:80", "a.example", "/"),
        ("https://A.Example:443/x", "a.example:443", "a.example", "/x"),
        ("https://a.example:8443/x?y=%2F&z", "a.example:8443", "a.example:8443", "/x?y=%2F&z"),
        ("http://a.example?token=x", "a.example:80", "a.example", "/?token=x"),
        ("http://[2001:DB8::1]:8080/", "[2001:db8::1]:8080", "[2001:db8::1]:8080", "/"),
        ("http://[2001:db8::1]/", "[2001:db8::1]:80", "[2001:db8::1]", "/"),
        ("http://0x7f.1/", "127.0.0.1:80", "127.0.0.1", "/"),
        ("http://b\u00fccher.example/\u00fc", "xn--bcher-kva.example:80", "xn--bcher-kva.example",
         "/%C3%BC"),
        ("http://a.example./", "a.example.:80", "a.example.", "/"),
        ("http://a_b.example/%zz\"<>\\^`{|}", "a_b.example:80", "a_b.example",
         "/%zz\"<>\\^`{|}"),
    ],
)  # fmt: skip
def test_a_url_says_whom_and_what(text: str, origin: str, authority: str, target: str) -> None:
    url = parse(text)
    assert (str(url.origin), url.authority, url.target) == (origin, authority, target)


@pytest.mark.parametrize(
    "text",
    [
        "", "a.example", "//a.example/", "ftp://a.example/", "http:///", "http://:80/",
        "http://a.example:0/", "http://a.example:65536/", "http://a.example:x/",
        "http://user@a.example/", "http://user:password@a.example/", "http://a.example/#x",
        "http://a.example/a b", "http://a.example/\r\nX: y", "http://a.example/\0",
        "http://a b.example/", "http://a%20b/", "http://a\\b/", "http://[::1/", "http://[zz]/",
        "http://a..example/", "http://" + "a" * 64 + "/", "http://a.example\t/",
    ],
)  # fmt: skip
def test_what_is_no_url_to_send_to_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(Fault) as refused:
        parse(text)
    assert refused.value.word == "url"
    assert "a.example" not in refused.value.detail
