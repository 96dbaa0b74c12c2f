"""Who somebody is: passwords, users, sessions, set-up links."""
