"""Ctrl-C means the same to every process that tests start.

A shell that starts pytest in the background makes it ignore SIGINT, and what it starts inherits that.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
