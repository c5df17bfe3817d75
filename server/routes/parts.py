"""The application's parts, for the routes that need them; and who may change something."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from starlette.requests import HTTPConnection

from server.access import Access
from server.catalogue import Catalogue
from server.hub import Hub
from server.store import Store
from server.supervisor import Supervisor


def hub_of(connection: HTTPConnection) -> Hub:
    """The app's hub."""
    hub: Hub = connection.app.state.hub
    return hub


def catalogue_of(connection: HTTPConnection) -> Catalogue:
    """The app's runs."""
    return hub_of(connection).catalogue


def store_of(connection: HTTPConnection) -> Store:
    """The app's store."""
    store: Store = connection.app.state.store
    return store


def access_of(connection: HTTPConnection) -> Access:
    """The app's access."""
    access: Access = connection.app.state.access
    return access


async def may_steer(request: Request) -> None:
    """A dependency of the routes that change something."""
    if denial := access_of(request).change(request):
        raise HTTPException(denial.status, denial.reason, denial.headers)


async def is_known(run_id: str, connection: HTTPConnection) -> None:
    """A dependency of the routes that read the store, which still has runs that are deleted: these are 404."""
    catalogue_of(connection).run(run_id)


def supervisor_of(connection: HTTPConnection) -> Supervisor:
    """The app's supervisor."""
    supervisor: Supervisor = connection.app.state.supervisor
    return supervisor


AccessOf = Annotated[Access, Depends(access_of)]
CatalogueOf = Annotated[Catalogue, Depends(catalogue_of)]
HubOf = Annotated[Hub, Depends(hub_of)]
StoreOf = Annotated[Store, Depends(store_of)]
SupervisorOf = Annotated[Supervisor, Depends(supervisor_of)]
Known = Depends(is_known)
Steering = Depends(may_steer)
