"""Run a plain function in a thread of its own that can be left behind."""

import asyncio
import contextvars
import ctypes
import threading
from collections.abc import Callable

_INSIST_SECONDS = 1.0
_INSIST_TIMES = 5


class LeftBehind(BaseException):
    """Raised inside a function whose caller does not wait for it any more, wherever it is just computing."""


class AbandonableThread:
    """A function in a daemon thread: the process never waits for it, and neither does its caller for ever.

    `ended` holds what the function returned or raised when the thread is over, however late that is.
    """

    def __init__(self, function: Callable[[], object], *, name: str) -> None:
        self._function = function
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._guard = threading.Lock()
        self._over = False
        self.ended: asyncio.Future[tuple[object, BaseException | None]] = self._loop.create_future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def abandon(self) -> None:
        """Stop waiting: the function gets an exception, again and again for a while in case it catches it.

        A loop in Python ends by that. A call into the system or a library ends when it comes back, perhaps never.
        """
        self._insist(_INSIST_TIMES)

    def _insist(self, times: int) -> None:
        with self._guard:  # the thread cannot end meanwhile, and its number cannot become another's
            if self._over or times == 0:
                return
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(LeftBehind)
            )
        self._loop.call_later(_INSIST_SECONDS, self._insist, times - 1)

    def _run(self) -> None:
        result: object = None
        raised: BaseException | None = None
        try:
            try:
                result = self._context.run(self._function)
            finally:
                with self._guard:
                    self._over = True
        except BaseException as error:  # also what would end a thread silently
            raised = error
        try:
            self._loop.call_soon_threadsafe(self.ended.set_result, (result, raised))
        except RuntimeError:  # the loop was closed meanwhile: nobody is left to tell
            return
