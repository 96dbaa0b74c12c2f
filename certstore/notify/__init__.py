"""Sends warnings about certificates and the service. `model.notify` decides about what, when and in which words.

Must not know the console, the CAs or how certificates are renewed.

notifier         the thread that sends what is due, over every channel that the settings ask for
outbox           what one channel has to deliver, and its retries
problem_tracker  since when each problem of the service stands
channel          what the notifier requires of a channel, and how one fails
mail             the mail channel
mail_text        fills the templates of mails, in text and HTML
smtp             delivers messages to the mail server
told_sharing     what recipients have been told, by whichever of several nodes
webhook          the webhook channel: signed JSON documents
templates/       the mails; an administrator may replace each
"""
