"""Why a message is refused: one word per fault, for counters and the access log.

Pure. A word names what the peer sent and blames nobody, so the same words serve requests and responses.
"""

from __future__ import annotations

from enum import StrEnum


class Cause(StrEnum):
    """Faults of framing and syntax. Such a message is not passed on, and its connection is closed."""

    BARE_CR = "bare_cr"
    BARE_LF = "bare_lf"
    CONTROL_CHARACTER = "control_character"
    OBS_FOLD = "obs_fold"
    SPACE_BEFORE_COLON = "space_before_colon"
    BAD_FIELD_NAME = "bad_field_name"
    NO_COLON = "no_colon"
    HEAD_TOO_LARGE = "head_too_large"
    TOO_MANY_FIELDS = "too_many_fields"
    LEADING_JUNK = "leading_junk"
    TLS_IN_CLEAR = "tls_in_clear"

    BAD_REQUEST_LINE = "bad_request_line"
    BAD_METHOD = "bad_method"
    BAD_TARGET = "bad_target"
    BAD_VERSION = "bad_version"
    NO_HOST = "no_host"
    TWO_HOSTS = "two_hosts"
    BAD_HOST = "bad_host"
    HOST_CONFLICT = "host_conflict"
    BAD_EXPECTATION = "bad_expectation"
    BAD_CONNECTION_OPTION = "bad_connection_option"

    BAD_STATUS_LINE = "bad_status_line"
    UNASKED_UPGRADE = "unasked_upgrade"
    TOO_MANY_INFORMATIONAL = "too_many_informational"

    BAD_LENGTH = "bad_length"
    TWO_LENGTHS = "two_lengths"
    LENGTH_AND_CHUNKED = "length_and_chunked"
    BAD_TRANSFER_CODING = "bad_transfer_coding"
    CHUNKED_IN_1_0 = "chunked_in_1_0"
    BAD_CHUNK_SIZE = "bad_chunk_size"
    BAD_CHUNK_END = "bad_chunk_end"
    CHUNK_LINE_TOO_LONG = "chunk_line_too_long"
    CHUNK_EXTENSIONS = "chunk_extensions"
    BAD_TRAILER = "bad_trailer"


class BadMessage(Exception):
    """The message is refused for `cause`; `status` is the answer if a client sent it."""

    def __init__(self, cause: Cause, status: int = 400) -> None:
        super().__init__(cause)
        self.cause = cause
        self.status = status
