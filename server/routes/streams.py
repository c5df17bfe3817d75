"""The two websockets: trainers come in on one, browsers watch on the other."""

from fastapi import APIRouter, WebSocket
from starlette.responses import JSONResponse

from server.routes.replies import hub_of, steering_refusal, token_refusal
from server.trainer import Trainer
from server.viewer import Viewer

router = APIRouter()


@router.websocket("/ws/train")
async def train(socket: WebSocket) -> None:
    """A trainer feeds its run."""
    if refusal := token_refusal(socket):
        await socket.send_denial_response(JSONResponse({"detail": refusal}, 401))
        return
    await socket.accept()
    await Trainer(socket).serve(hub_of(socket))


@router.websocket("/ws/view")
async def view(socket: WebSocket) -> None:
    """A browser watches a run and, if it may, steers it."""
    await socket.accept()
    await Viewer(socket, hub_of(socket), steering_refusal(socket)).serve()
