"""The one exception that a user is meant to read."""


class PerigeeError(Exception):
    """Something a user can mend.

    The message is one sentence that names the file, the key and the value concerned and
    says what to do; programs print it without a traceback and exit with status 1.
    """
