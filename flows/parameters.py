"""Parameters of the flows, as the Prefect UI shows them in its forms."""

from typing import Annotated

from pydantic import Field

Model = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9-]{0,39}$",
        description="a model project: the name of its folder under models/",
    ),
]
Environment = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$", description="an environment of andon.yaml")
]
Version = Annotated[str, Field(pattern=r"^[0-9]{0,9}$", description="a registered version")]
Trigger = Annotated[str, Field(max_length=200, description="who or what asked for this run")]
