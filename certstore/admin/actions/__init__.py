"""What users and programs can do in the console. Knows neither HTML nor the API's JSON.

action             what all actions share: the actor, authorization, audit
sites              list, show, add, change and remove sites; ask the listeners what they serve
certificates       preview and install uploads, roll back, the public chain
orders             orders and preflight checks, as jobs
people             sign-in, set-up links, passwords, one-time codes, users, API tokens
cluster            how the nodes stand
service            settings, CA account, test mail, audit log
"""
