"""As BentoML's own examples serve scikit-learn: a service class with a DataFrame API."""

import os
from typing import Annotated

import bentoml
import joblib
import numpy as np
import pandas as pd
from bentoml.validators import DataframeSchema


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api
    def predict(
        self, records: Annotated[pd.DataFrame, DataframeSchema(orient="records")]
    ) -> np.ndarray:
        return self.model.predict_proba(records)

    # Its micro-batching. It fails on data frames in this release (a batch's size is a tuple there),
    # so that the rows come as a list.
    @bentoml.api(batchable=True, max_batch_size=1_000)
    def predict_batched(self, records: list[dict]) -> np.ndarray:
        return self.model.predict_proba(pd.DataFrame(records))
