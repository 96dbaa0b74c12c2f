import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certstore.control.protocol import (
    REQUEST_LIMIT,
    VERSION,
    Fault,
    Progress,
    Request,
    RequestFailed,
    Result,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
    unpack_bytes,
)
from certstore.model.json_facts import encode

SECRET = b"-----BEGIN PRIVATE KEY-----"


def line(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def test_a_request_arrives_as_it_was_sent() -> None:
    request = Request("cert.install", {"site": "a.test", "password": encode(SECRET), "force": False})
    sent = encode_request(request)
    assert sent.count(b"\n") == 1
    assert sent.endswith(b"\n")
    assert decode_request(sent) == request


@pytest.mark.parametrize("answer", [Progress("ordering"), Result({"version": 3, "names": ["a", "ü"]})])
def test_an_answer_arrives_as_it_was_sent(answer: Progress | Result) -> None:
    assert decode_answer(encode_answer(answer)) == answer


def test_a_failure_arrives_with_fault_words_and_remedy() -> None:
    arrived = decode_answer(encode_answer(RequestFailed(Fault.NOT_FOUND, "no site x", "see the list")))
    assert isinstance(arrived, RequestFailed)
    assert (arrived.fault, arrived.found, arrived.remedy) == (Fault.NOT_FOUND, "no site x", "see the list")


def test_a_fault_of_a_newer_release_is_still_a_failure() -> None:
    arrived = decode_answer(line(version=VERSION, error={"fault": "brand_new", "found": "x", "remedy": ""}))
    assert isinstance(arrived, RequestFailed)
    assert arrived.fault is Fault.INTERNAL


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (b"", Fault.BAD_REQUEST),
        (b"not json", Fault.BAD_REQUEST),
        (b"\xff\xfe", Fault.BAD_REQUEST),
        (b"[1, 2]", Fault.BAD_REQUEST),
        (b"[" * 100_000, Fault.BAD_REQUEST),
        (line(verb="ping", args={}), Fault.OTHER_VERSION),
        (line(version=VERSION + 1, verb="ping", args={}), Fault.OTHER_VERSION),
        (line(version=VERSION, args={}), Fault.BAD_REQUEST),
        (line(version=VERSION, verb=["ping"], args={}), Fault.BAD_REQUEST),
        (line(version=VERSION, verb="ping", args=[]), Fault.BAD_REQUEST),
    ],
    ids=["empty", "words", "bytes", "a list", "deep", "no version", "a newer one", "no verb", "list verb", "list args"],
)
def test_what_is_not_a_request_is_refused_with_the_reason(sent: bytes, fault: Fault) -> None:
    with pytest.raises(RequestFailed) as caught:
        decode_request(sent)
    assert caught.value.fault is fault


def test_a_request_too_large_is_refused_before_it_is_sent() -> None:
    with pytest.raises(RequestFailed) as caught:
        encode_request(Request("cert.install", {"password": encode(bytes(REQUEST_LIMIT))}))
    assert caught.value.fault is Fault.TOO_LARGE


def test_no_content_shows_in_repr_or_message() -> None:
    assert encode(SECRET) not in repr(Request("cert.install", {"password": encode(SECRET)}))
    with pytest.raises(RequestFailed) as caught:
        unpack_bytes(SECRET.decode())
    assert "PRIVATE" not in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(sent: bytes) -> None:
    try:
        assert isinstance(decode_request(sent), Request)
    except RequestFailed:
        pass


@given(st.dictionaries(st.text(max_size=8), st.none() | st.integers() | st.text(max_size=8), max_size=4))
def test_any_object_is_an_answer_or_refused(fields: dict[str, object]) -> None:
    try:
        assert decode_answer(json.dumps(fields).encode()) is not None
    except RequestFailed:
        pass


@pytest.mark.parametrize(
    ("sent", "taken"),
    [("1000", 1000), ("null", None), ("-1", None), ("4294967296", None), ('"root"', None), ("[]", None)],
)
def test_only_a_uid_says_who_signed_in(sent: str, taken: int | None) -> None:
    line = f'{{"version": {VERSION}, "verb": "site.add", "args": {{}}, "signed_in": {sent}}}\n'
    assert decode_request(line.encode()).signed_in == taken
