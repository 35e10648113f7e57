"""`hub doctor`: is this machine fit to serve with these settings, and if not, what to do."""
