from edge_addon.plane.upstream_attempts import RECENT_SECONDS, Attempt, UpstreamAttempts


def test_last_attempt_counts_for_a_while() -> None:
    now = [100.0]
    attempts = UpstreamAttempts(lambda: now[0])
    attempts.failed("a", "refused")
    attempts.works("b")
    assert set(attempts.recent()) == {Attempt("a", 100.0, "refused"), Attempt("b", 100.0, "")}
    now[0] += RECENT_SECONDS / 2
    attempts.works("a")
    now[0] += RECENT_SECONDS / 2
    assert list(attempts.recent()) == [Attempt("a", 100.0 + RECENT_SECONDS / 2, "")]
