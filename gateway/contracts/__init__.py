"""The plug-in points: what an adapter, a service operation and a task must be.

Code of the people who run a gateway imports from here: these names stay. `adapter`, `service`, `task`, `posting` and
`alert` hold one contract each; `examples` has a handler to copy from.
"""

from gateway.batch.rules.definition import EntryDefinition
from gateway.contracts.posting import DocumentToPost, PostedDocument
from gateway.contracts.service import Reply, Request, ServiceContext
from gateway.contracts.task import Runnable, SpawnedTask, TaskContext
from gateway.kernel.errors import EntryRefused, OperationRejected, TransientError

__all__ = [
    "DocumentToPost",
    "EntryDefinition",
    "EntryRefused",
    "OperationRejected",
    "PostedDocument",
    "Reply",
    "Request",
    "Runnable",
    "ServiceContext",
    "SpawnedTask",
    "TaskContext",
    "TransientError",
]
