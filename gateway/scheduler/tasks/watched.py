"""Code of other people that a task runs: when it holds the event loop, it is interrupted and its task has failed."""

from dataclasses import dataclass

from gateway.contracts.task import TaskContext, TaskHandler
from gateway.domain.errors import TaskFailed
from gateway.services.standstill import STANDSTILL_SECONDS, Interrupted, Standstill, guarded


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A handler under whose code the event loop goes on turning (`gateway.contracts.task.TaskHandler`).

    Beats, messages and all other tasks of the process wait for every step that it takes on the loop.
    """

    handler: TaskHandler
    name: str
    standstill: Standstill

    async def run(self, context: TaskContext) -> None:
        """Run the handler.

        Raises: TaskFailed when one of its steps took too long; whatever it raises.
        """
        self.standstill.begin(self, STANDSTILL_SECONDS)
        try:
            await guarded(self.handler.run(context), STANDSTILL_SECONDS)
        except Interrupted as error:
            raise TaskFailed(
                f"{self.name} held the event loop for {STANDSTILL_SECONDS:g} seconds without awaiting anything, and "
                "nothing else ran meanwhile. Make a function that computes or blocks a plain `def`: it then runs in a "
                "thread.",
                code="task.blocks",
            ) from error
        finally:
            self.standstill.end(self)
