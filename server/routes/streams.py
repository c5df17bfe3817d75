"""The two websockets: trainers come in on one, browsers watch on the other."""

from fastapi import APIRouter, WebSocket

from server.routes.parts import access_of, hub_of
from server.trainer import Trainer
from server.viewer import Viewer

router = APIRouter()


@router.websocket("/ws/train")
async def train(socket: WebSocket) -> None:
    """A trainer feeds its run."""
    if denial := access_of(socket).feeding(socket):
        await socket.send_denial_response(denial.response())
        return
    await socket.accept()
    await Trainer(socket).serve(hub_of(socket))


@router.websocket("/ws/view")
async def view(socket: WebSocket) -> None:
    """A browser watches a run and, if it may, steers it."""
    access = access_of(socket)
    with access.places.take() as denial:
        if denial:
            await socket.send_denial_response(denial.response())
            return
        await socket.accept()
        await Viewer(socket, hub_of(socket), access).serve()
