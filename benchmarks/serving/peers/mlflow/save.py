"""Save a joblib file as an MLflow model with a signature: `save.py PIPELINE TRAINING FOLDER`."""

import sys
import warnings

import joblib
import mlflow
import pandas as pd
from mlflow.models import infer_signature

warnings.simplefilter("ignore")  # what it advises does not change what it serves
pipeline, frame = joblib.load(sys.argv[1]), pd.read_parquet(sys.argv[2])
mlflow.sklearn.save_model(
    pipeline,
    sys.argv[3],
    signature=infer_signature(frame, pipeline.predict_proba(frame.head())),
    pyfunc_predict_fn="predict_proba",
    serialization_format="cloudpickle",
    pip_requirements=["mlflow", "scikit-learn"],
)
