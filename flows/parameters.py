"""Parameters of the flows, as the Prefect UI shows them in its forms."""

from typing import Annotated

from pydantic import Field

from andon.spec import NAME

Model = Annotated[
    str,
    Field(
        pattern=NAME,
        max_length=40,
        description="a model project: the name of its folder under models/",
    ),
]
Environment = Annotated[
    str, Field(pattern=NAME, max_length=40, description="an environment of andon.yaml")
]
Version = Annotated[str, Field(pattern=r"^[0-9]{0,9}$", description="a registered version")]
AlertId = Annotated[str, Field(max_length=64, description="the alert to answer; empty: none")]
Trigger = Annotated[str, Field(max_length=200, description="who or what asked for this run")]
