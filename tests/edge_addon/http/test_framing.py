"""The reader of heads compared with two others: what it accepts, httptools and h11 read as the same message."""

import contextlib

import h11
import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_addon.http.framing import CHUNKED, UNTIL_CLOSE, RequestHead, parse_request, parse_response
from edge_addon.http.reframing import request_bytes
from edge_addon.http.refusal import BadMessage, Cause

KNOWN_METHODS = ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PROPFIND", "REPORT")

TOKENS = st.text("abcxyzABCXYZ0189-_.!~", min_size=1, max_size=12)
GOOD_LINES = (
    "Content-Length: 5", "content-length:0", "Content-Length: 7", "Transfer-Encoding: chunked", "Connection: close",
    "Connection: keep-alive", "Connection: TE, X-A", "TE: trailers",
    "Connection: Upgrade\r\nUpgrade: websocket", "Connection: TE\r\nTE: trailers",
    "Expect: 100-continue", "Keep-Alive: 5", "X-A: b", "X-B:", "x-b: \tc d ", "X-Forwarded-For: 10.0.0.1", "X_Y: z",
    "Forwarded: for=x", "Cookie: \xfc", "Content_Length: 9", "Trailer: X-T",
)  # fmt: skip
NAMES = """Host host Content-Length content-length Transfer-Encoding Connection Upgrade TE Expect Keep-Alive
X-Forwarded-For Forwarded Cookie X_Y Trailer Content_Length"""
VALUES = (
    "|a.test|0|5|5, 5|+5|chunked|Chunked|gzip, chunked|close|keep-alive|upgrade|websocket|100-continue|trailers"
    "|x, close, y|Host|\tx |x\ty|\xfc"
)
ANY_LINE = st.builds(
    "{}{}{}".format,
    st.one_of(st.sampled_from(NAMES.split()), TOKENS),
    st.sampled_from([": "] * 9 + [":", " :", "\t:", ""]),
    st.one_of(st.sampled_from(VALUES.split("|")), st.text(st.characters(codec="latin-1"), max_size=20)),
)
BAD_LINE_ENDS = st.sampled_from(["\n", "\r", "\r\r\n", "\r\n ", "\r\n\t", "\0\r\n"])


@st.composite
def heads(draw: st.DrawFn, first: st.SearchStrategy[str]) -> bytes:
    """Heads of requests or responses without their last CRLF CRLF: half of them good, the others damaged."""
    text = draw(first)
    is_good = draw(st.booleans())
    line = st.sampled_from(GOOD_LINES) if is_good else st.one_of(st.sampled_from(GOOD_LINES), ANY_LINE)
    for each in draw(st.lists(line, max_size=6)):
        is_damaged = not is_good and draw(st.integers(0, 9)) == 0
        text += (draw(BAD_LINE_ENDS) if is_damaged else "\r\n") + each
    return text.encode("latin-1", "replace")


TARGETS = st.sampled_from(
    ["/"] * 9 + ["/a?b=c", "//x", "*", "http://a.test/x", "http://a.test", "a", "/a b", "", "/#a"]
)
REQUESTS = heads(
    st.builds(
        "{} {} {}{}".format,
        st.one_of(st.just("GET"), st.sampled_from(KNOWN_METHODS), TOKENS),
        TARGETS,
        st.sampled_from(["HTTP/1.1"] * 9 + ["HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "http/1.1", ""]),
        st.sampled_from(["\r\nHost: a.test"] * 9 + [""]),
    )
)
RESPONSES = heads(
    st.builds(
        "{} {}{}".format,
        st.sampled_from(["HTTP/1.1"] * 9 + ["HTTP/1.0", "HTTP/2", ""]),
        st.sampled_from(["200"] * 9 + ["204", "304", "100", "101", "404", "99", "600", "2x0"]),
        st.sampled_from([" OK", "", " ", " \xfc", "  two"]),
    )
)


def try_request(text: bytes) -> RequestHead | None:
    try:
        return parse_request(text)
    except BadMessage:
        return None


class Seen:
    """Collects what httptools reports."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.is_complete = self.has_head = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_message_complete(self) -> None:
        self.is_complete = True


@given(REQUESTS)
def test_httptools_reads_an_accepted_request_alike(text: bytes) -> None:
    assert_httptools_reads_the_request_alike(text)


def assert_httptools_reads_the_request_alike(text: bytes) -> None:
    """The request is compared as it came from the client, before anything is left out."""
    head = try_request(text)
    if head is None or head.method.decode() not in KNOWN_METHODS:
        return
    seen = Seen()
    parser = httptools.HttpRequestParser(seen)
    try:
        parser.feed_data(text + b"\r\n\r\n")
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError:
        assert b"chunked\t" in text.lower(), "it takes only blanks there, where RFC 9110 §5.6.3 allows HTAB too"
        return
    assert seen.has_head
    assert seen.is_complete == (head.length == 0 or parser.should_upgrade())
    assert parser.get_method() == head.method
    assert seen.url.endswith(head.target.removeprefix(b"/")) or head.target == b"*"
    hosts = [value.strip(b" \t") for name, value in seen.fields if name.lower() == b"host"]
    assert hosts == ([head.host] if head.host is not None else [])


@given(REQUESTS)
def test_h11_reads_the_request_that_is_passed_on_alike(text: bytes) -> None:
    assert_h11_reads_the_request_alike(text)


def assert_h11_reads_the_request_alike(text: bytes) -> None:
    head = try_request(text)
    if head is None or head.host is None or head.method == b"CONNECT":
        return
    length, accepts = head.length, head.accepts_trailers and not head.is_upgrade
    sent = request_bytes(head, b"X-Forwarded-For: 192.0.2.1", b"")
    server = h11.Connection(h11.SERVER)
    server.receive_data(sent)
    event = server.next_event()
    assert isinstance(event, h11.Request)
    assert (event.method, event.target, event.http_version) == (head.method, head.target, b"1.1")
    names = [name for name, _ in event.headers]
    assert names.count(b"host") == 1
    assert dict(event.headers)[b"x-forwarded-for"] == b"192.0.2.1"
    assert not any(b"_" in name for name in names)
    assert (b"transfer-encoding" in names) == (length == CHUNKED)
    assert (b"content-length" in names) == head.has_length
    assert (b"te" in names) == accepts
    if length <= 0 and length != CHUNKED:
        assert isinstance(server.next_event(), h11.EndOfMessage)


@given(RESPONSES)
def test_httptools_reads_an_accepted_response_alike(text: bytes) -> None:
    assert_httptools_reads_the_response_alike(text)


def assert_httptools_reads_the_response_alike(text: bytes) -> None:
    try:
        head = parse_response(text, is_head_request=False)
    except BadMessage:
        return
    if head.status < 200:
        return  # httptools reads a body after most of them
    seen = Seen()
    parser = httptools.HttpResponseParser(seen)
    try:
        parser.feed_data(text + b"\r\n\r\n")
    except httptools.HttpParserError:
        assert b" :" in text or b"\t:" in text, "it refuses a blank before the colon, which is removed here"
        return
    assert seen.has_head
    assert parser.get_status_code() == head.status
    # It waits for the end of close-delimited bodies; a body of length 0 is complete at once.
    assert seen.is_complete == (head.length == 0)


@given(st.binary(max_size=300))
def test_junk_raises_nothing_but_a_refusal(junk: bytes) -> None:
    for parse in (parse_request, lambda text: parse_response(text, is_head_request=False)):
        with contextlib.suppress(BadMessage):
            parse(junk)


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", 5),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", CHUNKED),
        (b"HTTP/1.1 200 OK", UNTIL_CLOSE),
        (b"HTTP/1.0 200 OK", UNTIL_CLOSE),
        (b"HTTP/1.1 204 No Content", 0),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5", 0),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5", 0),
        (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked", 0),
        (b"HTTP/1.1 103 Early Hints", 0),
    ],
)
def test_length_of_a_response_follows_rfc_9112_section_6_3(head: bytes, length: int) -> None:
    assert parse_response(head, is_head_request=False).length == length
    assert parse_response(head, is_head_request=True).length == 0


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close", False),
        (b"1.1", b"Connection: x, CLOSE", False),
        (b"1.1", b"Connection: keep-alive\r\nConnection: close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: Keep-Alive", True),
        (b"1.0", b"Connection: keep-alive, close", False),
    ],
)
def test_connection_ends_or_goes_on_by_rfc_9112_section_9_3(
    version: bytes, connection: bytes, keep_alive: bool
) -> None:
    fields = b"\r\n" + connection if connection else b""
    assert parse_request(b"GET / HTTP/" + version + b"\r\nHost: a" + fields).keep_alive is keep_alive
    response = b"HTTP/" + version + b" 200 OK" + fields
    assert parse_response(response, is_head_request=False).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("line", "passed", "length"),
    [
        (b"X-A : b", [b"X-A: b"], UNTIL_CLOSE),
        (b"X-A \t: b", [b"X-A: b"], UNTIL_CLOSE),
        (b"Content-Length : 5", [b"Content-Length: 5"], 5),
        (b"Transfer-Encoding : chunked", [], CHUNKED),
        (b"Keep-Alive : timeout=5", [], UNTIL_CLOSE),
    ],
)
def test_a_blank_before_the_colon_of_a_response_is_removed(line: bytes, passed: list[bytes], length: int) -> None:
    """RFC 9112 §5.1; a request with one is refused."""
    head = parse_response(b"HTTP/1.1 200 OK\r\n" + line, is_head_request=False)
    assert (head.lines[1:], head.length) == (passed, length)
    with pytest.raises(BadMessage, match=Cause.SPACE_BEFORE_COLON):
        parse_request(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + line)
