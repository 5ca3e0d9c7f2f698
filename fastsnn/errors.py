"""Which exceptions a caller may catch; wrong arguments raise plain ValueError or TypeError."""


class FastSNNError(Exception):
    """Base of every error that is fastsnn's own."""


class BackendUnavailable(FastSNNError, RuntimeError):
    """No backend takes a call, or the one that was forced cannot run it; the message holds every backend's reason."""


class ConversionError(FastSNNError, ValueError):
    """A network cannot be converted; the message lists every node at fault, with its module path and the reason."""


class OutOfMemory(FastSNNError, RuntimeError):
    """A run does not fit the memory of its device; the message says how many images would."""


class ProcessError(FastSNNError, RuntimeError):
    """Another process of the same run failed, ended, or does not answer; the message says which, or what is known."""


class SaidElsewhere(FastSNNError):
    """This process ends because all do, and the first of them says why."""
