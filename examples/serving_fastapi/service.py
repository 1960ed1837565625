"""A web service that recommends, with any number of processes over one cache of model versions.

    asmg subscribe --cache CACHE &                                # one process listens to Kafka
    ASMG_SUBSCRIBER__CACHE=CACHE uvicorn --factory --workers 8 examples.serving_fastapi.service:make_app

What it shows: the model is read once a request and never changes under it; a swap happens between requests, after the
new version has been warmed up; a process is ready when it serves, and says so at /health; every answer names the
version that it comes from.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from stream_app.serving.model import ServingModel
from stream_app.settings.load import load
from stream_app.settings.serving import ServingSettings
from stream_app.subscriber import ModelSubscriber, StaleModel, SubscriberSettings

from . import metrics

Id = int | str


class Candidates(BaseModel):
    """What /score is asked: one user, many items; without `history` the version's own counts, if it carries any."""

    user: Id
    items: Annotated[list[Id], Field(max_length=10_000)]
    history: list[Id] | None = None


def make_app(settings: SubscriberSettings | None = None) -> FastAPI:
    """The service; without `settings` those of asmg.toml and ASMG_... variables, as for every command of asmg."""
    subscriber = ModelSubscriber(
        settings or load(ServingSettings).subscription(),
        warm_up=warm_up,
        on_swap=lambda model: metrics.swapped(model.version.number),
        on_refusal=lambda refusal: metrics.refused(),
    )

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        with subscriber:  # its thread ends with the process; requests that are being answered keep their model
            yield

    def serving() -> ServingModel:
        try:
            model = subscriber.model
        except StaleModel as stale:
            raise HTTPException(503, str(stale)) from stale
        if model is None:
            raise HTTPException(503, "no model version yet")
        return model

    app = FastAPI(title="recommendations", lifespan=lifespan)
    app.middleware("http")(metrics.timed)
    app.exception_handler(ValueError)(wrong_ids)
    Serving = Annotated[ServingModel, Depends(serving)]

    # Not in threads (`async def`): an answer computes for about a millisecond and waits for nothing. With millions of
    # items make it `def`, and FastAPI runs it in a thread.
    @app.get("/recommend")
    async def recommend(
        model: Serving,
        user: str,
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        exclude: Annotated[tuple[str, ...], Query()] = (),
    ) -> dict[str, Any]:
        content = model.version.content
        never = [typed(item, content.vocabulary.items) for item in exclude]
        best = model.recommend(typed(user, content.vocabulary.users), k, exclude=never)
        return {"version": content.version, "items": best.items, "probabilities": best.probabilities.tolist()}

    @app.post("/score")
    async def score(model: Serving, asked: Candidates) -> dict[str, Any]:
        probabilities = model.score(asked.user, asked.items, asked.history)
        return {"version": model.version.number, "probabilities": probabilities.tolist()}

    @app.get("/health")
    async def health() -> JSONResponse:
        seen = subscriber.health()
        ready = seen.state == "serving" and not (seen.stale and subscriber.settings.when_stale == "refuse")
        return JSONResponse(asdict(seen), 200 if ready else 503)

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(*metrics.page())

    return app


def warm_up(model: ServingModel) -> None:
    """Touches every item, so that no request pays for pages that are not in memory yet; refuses what cannot answer."""
    model.recommend(0 if model.version.content.vocabulary.users == "int" else "", 10)


def typed(text: str, kind: str) -> Id:
    """An id from a query string as the version has it. Raises ValueError when it must be an integer and is none."""
    return int(text) if kind == "int" else text


async def wrong_ids(request: Request, error: Exception) -> JSONResponse:
    """Ids of another type than the version's, or k that makes no sense: the caller can mend that."""
    return JSONResponse({"detail": str(error)}, 422)
