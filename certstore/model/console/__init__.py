"""The console's decisions: who may do what, and what an overview shows. Pure: must not know requests or pages.

authorization  which role or token may do what to which site
people         users and tokens, and the rules for names and passwords
sign_in        how long a sign-in must wait after failed ones
totp           one-time codes of an authenticator app
standing       the status of a site, in one word
listing        searches, filters, sorts and pages the overview
"""
