"""The server that most write by hand: a Pydantic model, a DataFrame, `predict_proba`."""

import os

import joblib
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

model = joblib.load(os.environ["MODEL"])
app = FastAPI()


class Row(BaseModel):
    age: float | None
    income: float | None
    balance: float | None
    monthly_fee: float | None
    usage_hours: float | None
    discount: float | None
    distance_km: float | None
    rating: float | None
    overdue: float | None
    visits: int
    tickets: int
    paperless: bool
    plan: str | None
    region: str | None
    channel: str | None


class Rows(BaseModel):
    records: list[Row]


class Answer(BaseModel):
    probabilities: list[list[float]]


@app.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/predict")
def predict(rows: Rows) -> Answer:
    frame = pd.DataFrame([row.model_dump() for row in rows.records])
    return Answer(probabilities=model.predict_proba(frame).tolist())
