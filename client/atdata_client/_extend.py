"""Methods for `atdata.Dataset`, put there only when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atdata_client._extras import part
from atdata_client.dataset import DatasetLoader, DatasetPublisher

if TYPE_CHECKING:
    from atdata import Dataset

    from atdata_client.client import ATProtoClient


def extend_atdata() -> None:
    """Give `atdata.Dataset` the methods `publish_to_atproto` and `from_atproto`.

    Nothing else of atdata is touched, and a second call does nothing. Raises RuntimeError when
    atdata has methods of those names that are not from here.
    """
    atdata = part("atdata", of="atdata", for_="extend_atdata")
    methods: dict[str, Any] = {
        "publish_to_atproto": publish_to_atproto,
        "from_atproto": classmethod(from_atproto),
    }
    held = vars(atdata.Dataset)
    for name in methods:
        if name in held and getattr(held[name], "__module__", None) != __name__:
            raise RuntimeError(f"atdata.Dataset has a {name} of its own")
    for name, method in methods.items():
        setattr(atdata.Dataset, name, method)


def publish_to_atproto(
    self: Dataset[Any], client: ATProtoClient, *, name: str, **kwargs: Any
) -> str:
    """Publish this dataset; returns the AT-URI of its record.

    `kwargs` are those of `DatasetPublisher.publish_dataset`, as is what is raised.
    """
    return DatasetPublisher(client).publish_dataset(self, name=name, **kwargs)


def from_atproto(
    cls: type[Dataset[Any]], /, client: ATProtoClient, uri: str, **kwargs: Any
) -> Dataset[Any]:
    """The dataset of the record at `uri`, ready to iterate.

    `kwargs` are those of `DatasetLoader.load_dataset`, as is what is raised.
    """
    dataset: Dataset[Any] = DatasetLoader(client).load_dataset(uri, **kwargs)
    return dataset
