"""Find the operation that an action names: exact look-up only, data never names code."""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.contracts.service import ContentOperation, ServiceOperation
from gateway.kernel.errors import UnknownAction
from gateway.kernel.namespaces import SERVICES, canonical
from gateway.messaging.rules.action import split_action


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service: the namespaces of its actions (canonical) and its operations by name."""

    name: str
    namespaces: frozenset[str]
    operations: Mapping[str, ServiceOperation]


@dataclass(frozen=True, slots=True)
class Found:
    """An operation with its names as configured."""

    service: str
    name: str
    operation: ServiceOperation
    takes_content: bool = False


class Registry:
    """All services of a gateway, by the names that actions use.

    Rule: namespace and service compare exactly (the namespace in either documented scheme), operations without
    regard to case. Source: rulings, "Action".
    """

    def __init__(self, services: Mapping[str, Service]) -> None:
        self._services = services
        self._operations = {
            (service.name, name.lower()): Found(service.name, name, operation, isinstance(operation, ContentOperation))
            for service in services.values()
            for name, operation in service.operations.items()
        }

    def find(self, action: str) -> Found:
        """Return the operation that *action* names.

        Raises: UnknownAction saying which part is unknown and what exists.
        """
        whole = "".join(action.split())
        if whole != action:
            raise UnknownAction(
                f"The Action has white space in it, perhaps from a wrapped line; write it in one piece: {whole}.",
                code="action.unknown",
            )
        parts = split_action(action)
        if parts is None:
            raise UnknownAction(
                f"The Action '{action}' is not of the form namespace/service/operation, such as "
                f"{SERVICES}/SalesOrderService/create.",
                code="action.unknown",
            )
        service = self._services.get(parts.service)
        if service is None:
            raise UnknownAction(
                f"The Action names the service '{parts.service}', which does not exist"
                f"{self._other_case(parts.service)}. Check how it is written.",
                code="action.unknown",
            )
        if canonical(parts.namespace) not in service.namespaces:
            known = ", ".join(sorted(service.namespaces))
            raise UnknownAction(
                f"The service '{service.name}' is not in the namespace '{parts.namespace}' but in {known}.",
                code="action.unknown",
            )
        found = self._operations.get((service.name, parts.operation.lower()))
        if found is None:
            known = ", ".join(sorted(service.operations))
            raise UnknownAction(
                f"The service '{service.name}' has no operation '{parts.operation}'; it has {known}.",
                code="action.unknown",
            )
        return found

    def _other_case(self, name: str) -> str:
        """Name a service that differs in upper and lower case only."""
        near = next((known for known in self._services if known.casefold() == name.casefold()), None)
        return "" if near is None else f"; upper and lower case count, and there is '{near}'"

    def operation(self, service: str, name: str) -> Found | None:
        """Return an operation by its configured names, None when it does not exist any more."""
        return self._operations.get((service, name.lower()))
