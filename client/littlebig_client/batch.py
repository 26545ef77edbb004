"""Classifies batches of pictures on an engine: Ray Data's `map_batches`, and functions of Spark and Daft."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from littlebig_client._client import Client
from littlebig_client._errors import ClientError, InvalidImage, InvalidRequest, ModelNotServed, ServerUnreachable
from littlebig_client._images import ImageInput
from littlebig_client._options import Options, check_concurrency

# The columns of the answers, with their dtypes.
COLUMNS: Mapping[str, Any] = {
    "label": np.int32,
    "name": object,
    "confidence": np.float32,
    "stage": object,
    "error": object,
}
_NO_ANSWER = {"label": -1, "name": "", "confidence": float("nan"), "stage": ""}


class BatchClassifier:
    """Adds answers to a batch: `label`, `name`, `confidence`, `stage` and `error`.

    Can be pickled; each copy opens a connection of its own, at its first batch. A picture that failed has its reason in
    `error`, label -1, an undefined confidence (NaN) and empty texts; all others have an empty `error`.

    Example:
        >>> classify = BatchClassifier("localhost:8001", column="content")
        >>> classify({"path": ["coffee.png"], "content": [Path("coffee.png").read_bytes()]})["name"]
        array(['espresso'], dtype=object)
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        column: str = "bytes",
        keep_column: bool = False,
        concurrency: int = 8,
        threshold: float | None = None,
        policy: str | None = None,
        within: float | None = None,
        **connection: Any,
    ) -> None:
        """Check the options; nothing is sent yet.

        Args:
            url: as `Client`.
            column: name of the column with the pictures: encoded bytes, or paths that each worker can read.
            keep_column: leave that column in the batch.
            concurrency: requests in flight of each copy.
            threshold: as `Client.classify`, for every picture.
            policy: as `Client.classify`, for every picture.
            within: as `Client.classify`, for every picture.
            connection: further arguments of `Client`, such as `timeout`, `retry_for`, `tls` and `token`.

        Raises:
            InvalidRequest: an option is out of range.
        """
        Options(threshold=threshold, policy=policy, within=within)
        self._options: dict[str, Any] = {
            "concurrency": check_concurrency(concurrency),
            "threshold": threshold,
            "policy": policy,
            "within": within,
        }
        self._column, self._keep_column = column, keep_column
        self._client = Client(url, **connection)

    def __call__(self, batch: Any) -> Any:
        """Return the batch with its answers.

        Args:
            batch: a mapping of column names to arrays, or a pandas DataFrame.

        Returns:
            A dict of NumPy arrays, or a DataFrame with the same index.

        Raises:
            InvalidRequest: the batch has no such column.
            ServerUnreachable: no server responds.
            ModelNotServed: the server does not serve a cascade.
        """
        if self._column not in batch:
            raise InvalidRequest(f"the batch has no column '{self._column}': it has {', '.join(map(str, batch))}")
        answers = self.answers(batch[self._column])
        columns = {name: np.array([answer[name] for answer in answers], dtype) for name, dtype in COLUMNS.items()}
        if hasattr(batch, "assign"):
            kept = batch if self._keep_column else batch.drop(columns=self._column)
            return kept.assign(**columns)
        kept = {name: values for name, values in batch.items() if self._keep_column or name != self._column}
        return {**kept, **columns}

    def answers(self, images: Iterable[ImageInput]) -> list[dict[str, Any]]:
        """One dict with the keys COLUMNS for each image, in order.

        Raises:
            InvalidRequest: the client is closed.
            ServerUnreachable: no server responds.
            ModelNotServed: the server does not serve a cascade.
        """
        rows = []
        for answer in self._client.classify_many(images, **self._options):
            if not isinstance(answer, ClientError):
                row = {"label": answer.label, "name": answer.name, "confidence": answer.confidence}
                rows.append({**row, "stage": answer.stage.value, "error": ""})
                continue
            concerns_all = isinstance(answer, ServerUnreachable | ModelNotServed | InvalidRequest)
            if concerns_all and not isinstance(answer, InvalidImage):
                raise answer
            rows.append({**_NO_ANSWER, "error": answer.message})
        return rows
