"""What is wrong with a recurrence."""

from gateway.kernel.errors import JobRefused


class RecurrenceError(JobRefused):
    """A recurrence cannot be read, or can never start anything; the text says what is allowed instead."""

    code = "job.recurrence"
