"""Which warnings are due, for whom, and in which words. Pure: must not know channels, files or the clock.

warnings           what there is to warn about: at most one `Matter` per site
standing_problems  problems of the service itself that last
due_notices        which notices are due now, per recipient and day
wording            the words of a notice, for readers who have never heard of ACME
"""
