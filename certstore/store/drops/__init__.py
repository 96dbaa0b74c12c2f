"""What people drop: whose it is, what is in it, and what becomes of it.

Decisions are made in `model.drop_decision`.

    processing   one check of one site: settings, drop, decision, activation
    reading      reads the files of a drop safely
    ownership    which site an entry of the drop folders belongs to
"""
